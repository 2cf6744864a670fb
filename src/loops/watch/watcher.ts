import type { DurationMs, Instant } from "../../domain/time.ts";
import { addDeaf, beginDeaf, type DeafCause, endDeaf, isUnstable, type Vantage, type VantageView, viewOf } from "../../liveness/vantage.ts";
import { type ModeChange, observeScope, type ScopeObservation } from "../../liveness/vantage-mode.ts";
import type { RaiseAlert } from "../../notify/raise-alert.ts";
import type { Emit } from "../../telemetry/events.ts";

/** What this process could not hear, shared by the loops that judge. Every change of mode is an event and an alert. */
export class Watcher {
  #vantage: Vantage;
  #toldUnstable = false;
  readonly #emit: Emit;
  readonly #alert: RaiseAlert;

  constructor(vantage: Vantage, { emit, alert }: { readonly emit: Emit; readonly alert: RaiseAlert }) {
    this.#vantage = vantage;
    this.#emit = emit;
    this.#alert = alert;
  }

  get vantage(): Vantage {
    return this.#vantage;
  }

  view(scope: string): VantageView {
    return viewOf(this.#vantage, scope);
  }

  wasDeaf(interval: { readonly from: Instant; readonly to: Instant; readonly cause: DeafCause }): void {
    this.#vantage = addDeaf(this.#vantage, interval);
    this.#tellUnstable(interval.to);
  }

  deafFrom(cause: DeafCause, at: Instant): void {
    this.#vantage = beginDeaf(this.#vantage, cause, at);
  }

  hearsAgain(cause: DeafCause, at: Instant): void {
    this.#vantage = endDeaf(this.#vantage, cause, at);
    this.#tellUnstable(at);
  }

  observe(observation: ScopeObservation): void {
    const { vantage, change } = observeScope(this.#vantage, observation);
    this.#vantage = vantage;
    if (change === undefined) return;
    const why = `${change.turnedSilent} of ${change.total} turned silent within one timeout`;
    this.#emit("vantage.changed", { scope: change.scope, from: change.from, to: change.to, why });
    void this.#alert({
      cause: `vantage:${change.scope}`,
      title: `The watcher of ${change.scope} ${meaningOf(change, why)}`,
      details: { ...change },
    });
  }

  #tellUnstable(now: Instant): void {
    const unstable = isUnstable(this.#vantage, now);
    if (unstable && !this.#toldUnstable) this.#tellOfDeafness(this.#vantage.intervals.length);
    this.#toldUnstable = unstable;
  }

  #tellOfDeafness(intervals: number): void {
    this.#emit("vantage.unstable", { channel: "all", intervals });
    void this.#alert({
      cause: "vantage:unstable",
      title:
        "The watcher was deaf too often in the last ten minutes, so that silence proves little: see whether this host is overloaded, is put to " +
        "sleep, or loses its store (`wakeful doctor`)",
      details: { intervals },
    });
  }
}

/** What a mode change means, and what a person can do. */
function meaningOf({ from, to }: ModeChange, why: string): string {
  switch (to) {
    case "frozen":
      return "is frozen: it does not hear itself, so nothing is judged by silence. Look at the store and the network of this host";
    case "limited":
      return from === "frozen"
        ? `is limited, no longer frozen: it hears itself again, and silence counts after twice the usual time (${why})`
        : `is limited: ${why}, so silence counts only after twice the usual time. Look at their hosts and at the way from there to here`;
    case "normal":
      return `is back to normal, no longer ${from}: silence counts as usual`;
  }
}

/** A longer query counts as deaf time: one tick. */
export const slowQueryMs: DurationMs = 1000;
