import type { DurationMs, Instant } from "../domain/time.ts";
import { addDeaf, beginDeaf, type DeafCause, endDeaf, isUnstable, type Vantage, type VantageView, viewOf } from "../liveness/vantage.ts";
import { observeScope, type ScopeObservation } from "../liveness/vantage-mode.ts";
import type { RaiseAlert } from "../notify/raise-alert.ts";
import type { Emit } from "../telemetry/events.ts";

/** What the watcher knows of its own hearing, shared by the loops that judge. Everything it concludes is an event. */
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
    // Once while it lasts, and again when it turns worse.
    if (change.from === "normal" || change.to === "frozen") {
      void this.#alert({
        cause: `vantage:${change.scope}`,
        title: `The watcher of ${change.scope} is ${change.to}: ${why}`,
        details: { ...change },
      });
    }
  }

  #tellUnstable(now: Instant): void {
    const unstable = isUnstable(this.#vantage, now);
    if (unstable && !this.#toldUnstable) this.#emit("vantage.unstable", { channel: "all", intervals: this.#vantage.intervals.length });
    this.#toldUnstable = unstable;
  }
}

/** How long a query may take before the time counts as deaf: one tick. */
export const slowQueryMs: DurationMs = 1000;
