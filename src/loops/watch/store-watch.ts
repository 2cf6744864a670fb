import { isWakefulError, messageOf } from "../../domain/errors.ts";
import { addMs, type DurationMs } from "../../domain/time.ts";
import type { Store } from "../../store/port/store.ts";
import type { Emit } from "../../telemetry/events.ts";
import { slowQueryMs, type Watcher } from "./watcher.ts";

export interface StoreHearingDeps {
  readonly store: Pick<Store, "ping" | "now">;
  readonly watcher: Watcher;
  readonly emit: Emit;
  readonly monoNow: () => number;
}

/** How long an answer may be awaited before the store counts as one that does not answer. */
const patienceMs: DurationMs = 5000;

/** Asks the store each second whether it answers. While it does not, or takes longer than a tick, silence proves nothing. */
export class StoreWatch {
  readonly #deps: StoreHearingDeps;
  #lostAtMono: number | undefined;
  #awaitedSinceMono: number | undefined;

  constructor(deps: StoreHearingDeps) {
    this.#deps = deps;
  }

  /** Whether the last question was answered, or still may be. */
  get answers(): boolean {
    if (this.#lostAtMono !== undefined) return false;
    return this.#awaitedSinceMono === undefined || this.#deps.monoNow() - this.#awaitedSinceMono < patienceMs;
  }

  async look(): Promise<void> {
    const { store, watcher, emit, monoNow } = this.#deps;
    const askedAtMono = monoNow();
    const askedAt = store.now();
    this.#awaitedSinceMono = askedAtMono;
    // Deaf from the question on, and not only once it has failed: meanwhile others may be judged over connections that work.
    const late = setTimeout(() => watcher.deafFrom("store_unreachable", askedAt), slowQueryMs);
    try {
      await store.ping();
    } catch (thrown) {
      watcher.deafFrom("store_unreachable", askedAt);
      if (this.#lostAtMono !== undefined) return;
      this.#lostAtMono = askedAtMono;
      emit("store.degraded", { code: isWakefulError(thrown) ? thrown.code : "ping_failed", message: messageOf(thrown) });
      return;
    } finally {
      clearTimeout(late);
      this.#awaitedSinceMono = undefined;
    }
    const tookMs: DurationMs = monoNow() - askedAtMono;
    watcher.hearsAgain("store_unreachable", store.now());
    if (this.#lostAtMono !== undefined) {
      emit("store.recovered", { afterMs: Math.round(monoNow() - this.#lostAtMono) });
      this.#lostAtMono = undefined;
    } else if (tookMs > slowQueryMs) {
      watcher.wasDeaf({ from: askedAt, to: addMs(askedAt, Math.round(tookMs)), cause: "slow_query" });
    }
  }
}
