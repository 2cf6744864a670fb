import { isWakefulError, messageOf } from "../../domain/errors.ts";
import type { RunId, WorkerId } from "../../domain/ids.ts";
import type { PresenceRegistry } from "../../observe/session-presence.ts";
import type { Store } from "../../store/port/store.ts";
import type { Emit } from "../../telemetry/events.ts";

/** What a session reports with each renewal. */
export interface HeardRenewal {
  readonly workerId: WorkerId;
  readonly held: readonly RunId[];
  readonly claimSeqReceived: number;
}

export interface RenewalListenerDeps {
  readonly store: { readonly runs: Pick<Store["runs"], "checkUnheld">; now(): ReturnType<Store["now"]> };
  readonly presence: PresenceRegistry;
  readonly wakeJobReaper: () => void;
  readonly emit: Emit;
}

/**
 * Records which runs each session reports, and has the job-reaper check at once those that it was given and does not hold: the claim's
 * answer got lost. Only a hint: the judge reads the presence registry itself.
 */
export class RenewalListener {
  readonly #deps: RenewalListenerDeps;
  /** Sessions whose runs the store is being asked for. */
  readonly #asking = new Map<WorkerId, Promise<void>>();

  constructor(deps: RenewalListenerDeps) {
    this.#deps = deps;
  }

  heard(renewal: HeardRenewal): void {
    const { workerId, held, claimSeqReceived } = renewal;
    this.#deps.presence.heard(workerId, { at: this.#deps.store.now(), held, claimSeqReceived });
    // The next renewal asks again.
    if (this.#asking.has(workerId)) return;
    this.#asking.set(
      workerId,
      this.#ask(renewal).finally(() => this.#asking.delete(workerId)),
    );
  }

  /** Resolves when no question is open. Never rejects. */
  async idle(): Promise<void> {
    while (this.#asking.size > 0) await Promise.all(this.#asking.values());
  }

  async #ask(renewal: HeardRenewal): Promise<void> {
    try {
      if ((await this.#deps.store.runs.checkUnheld(renewal)) > 0) this.#deps.wakeJobReaper();
    } catch (thrown) {
      this.#deps.emit("store.degraded", { code: isWakefulError(thrown) ? thrown.code : "look_failed", message: messageOf(thrown) });
    }
  }
}
