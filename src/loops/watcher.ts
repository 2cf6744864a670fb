import type { DurationMs, Instant } from "../domain/time.ts";
import { addDeaf, beginDeaf, type DeafCause, endDeaf, isUnstable, type Vantage, type VantageView, viewOf } from "../liveness/vantage.ts";
import { observeScope, type ScopeObservation } from "../liveness/vantage-mode.ts";
import type { Emit } from "../telemetry/events.ts";

/** What the watcher knows of its own hearing, shared by the loops that judge. Everything it concludes is an event. */
export class Watcher {
  #vantage: Vantage;
  #toldUnstable = false;
  readonly #emit: Emit;

  constructor(vantage: Vantage, emit: Emit) {
    this.#vantage = vantage;
    this.#emit = emit;
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
    if (change.to !== "normal") {
      this.#emit("alert.raised", {
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
