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

/** Asks the store each second whether it answers. While it does not, or takes longer than a tick, silence proves nothing. */
export class StoreWatch {
  readonly #deps: StoreHearingDeps;
  #lostAtMono: number | undefined;

  constructor(deps: StoreHearingDeps) {
    this.#deps = deps;
  }

  async look(): Promise<void> {
    const { store, watcher, emit, monoNow } = this.#deps;
    const askedAtMono = monoNow();
    const askedAt = store.now();
    try {
      await store.ping();
    } catch (thrown) {
      if (this.#lostAtMono !== undefined) return;
      this.#lostAtMono = askedAtMono;
      watcher.deafFrom("store_unreachable", askedAt);
      emit("store.degraded", { code: isWakefulError(thrown) ? thrown.code : "ping_failed", message: messageOf(thrown) });
      return;
    }
    const tookMs: DurationMs = monoNow() - askedAtMono;
    if (this.#lostAtMono !== undefined) {
      watcher.hearsAgain("store_unreachable", store.now());
      emit("store.recovered", { afterMs: Math.round(monoNow() - this.#lostAtMono) });
      this.#lostAtMono = undefined;
    } else if (tookMs > slowQueryMs) {
      watcher.wasDeaf({ from: askedAt, to: addMs(askedAt, Math.round(tookMs)), cause: "slow_query" });
    }
  }
}
