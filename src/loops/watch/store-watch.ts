import type { ErrorCode } from "../../domain/error-codes.ts";
import { isWakefulError, messageOf } from "../../domain/errors.ts";
import { addMs, type DurationMs } from "../../domain/time.ts";
import type { Tell } from "../../notify/raise-alert.ts";
import type { Store } from "../../store/port/store.ts";
import { slowQueryMs, type Watcher } from "./watcher.ts";

export interface StoreHearingDeps {
  readonly store: Pick<Store, "ping" | "now">;
  readonly watcher: Watcher;
  readonly tell: Tell;
  readonly monoNow: () => number;
}

/** How long an answer may be awaited before the store counts as one that does not answer. */
const patienceMs: DurationMs = 5000;

const noAnswer = "store does not answer";
const lostCodes: ReadonlySet<string> = new Set<ErrorCode>(["store_lost", "data_dir_lost"]);
const isLost = (code: string): boolean => lostCodes.has(code);

/** Asks the store each second whether it answers. While it does not, or takes longer than a tick, silence proves nothing. */
export class StoreWatch {
  readonly #deps: StoreHearingDeps;
  #lost: { readonly atMono: number; readonly code: string; readonly message: string } | undefined;
  #awaitedSinceMono: number | undefined;

  constructor(deps: StoreHearingDeps) {
    this.#deps = deps;
  }

  /** Why the store cannot be worked with, for people. Undefined: the last question was answered, or still may be. */
  get trouble(): string | undefined {
    if (this.#lost !== undefined) return isLost(this.#lost.code) ? this.#lost.message : noAnswer;
    const waitedMs = this.#awaitedSinceMono === undefined ? 0 : this.#deps.monoNow() - this.#awaitedSinceMono;
    return waitedMs < patienceMs ? undefined : noAnswer;
  }

  async look(): Promise<void> {
    const { store, watcher, tell, monoNow } = this.#deps;
    const askedAtMono = monoNow();
    const askedAt = store.now();
    this.#awaitedSinceMono = askedAtMono;
    // Deaf from the question on, and not only once it has failed: meanwhile others may be judged over connections that work.
    const late = setTimeout(() => watcher.deafFrom("store_unreachable", askedAt), slowQueryMs);
    try {
      await store.ping();
    } catch (thrown) {
      watcher.deafFrom("store_unreachable", askedAt);
      const code = isWakefulError(thrown) ? thrown.code : "ping_failed";
      if (this.#lost?.code === code) return;
      this.#lost = { atMono: this.#lost?.atMono ?? askedAtMono, code, message: messageOf(thrown) };
      tell.emit("store.degraded", { code, message: this.#lost.message });
      // It ends by no repetition: a person has to act.
      if (isLost(code)) await tell.alert({ cause: `store:${code}`, title: this.#lost.message, details: {} });
      return;
    } finally {
      clearTimeout(late);
      this.#awaitedSinceMono = undefined;
    }
    const tookMs: DurationMs = monoNow() - askedAtMono;
    watcher.hearsAgain("store_unreachable", store.now());
    if (this.#lost !== undefined) {
      tell.emit("store.recovered", { afterMs: Math.round(monoNow() - this.#lost.atMono) });
      this.#lost = undefined;
    } else if (tookMs > slowQueryMs) {
      watcher.wasDeaf({ from: askedAt, to: addMs(askedAt, Math.round(tookMs)), cause: "slow_query" });
    }
  }
}
