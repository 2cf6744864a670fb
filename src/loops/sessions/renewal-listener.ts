import { isWakefulError, messageOf } from "../../domain/errors.ts";
import type { RunId, WorkerId } from "../../domain/ids.ts";
import type { PresenceRegistry } from "../../observe/session-presence.ts";
import type { Store } from "../../store/port/store.ts";
import type { Emit } from "../../telemetry/events.ts";

/** What a session says of itself with each renewal. */
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
 * Writes down what each session says that it holds, and has the job-reaper look at once at what it was given and does not hold: the answer
 * to a claim that got lost on its way. A hint: the judge asks the presence book itself, and without it looks when the run should have started.
 */
export class RenewalListener {
  readonly #deps: RenewalListenerDeps;
  /** Sessions about which the store is being asked. */
  readonly #asking = new Map<WorkerId, Promise<void>>();

  constructor(deps: RenewalListenerDeps) {
    this.#deps = deps;
  }

  heard(renewal: HeardRenewal): void {
    const { workerId, held, claimSeqReceived } = renewal;
    this.#deps.presence.heard(workerId, { at: this.#deps.store.now(), held, claimSeqReceived });
    // What is not asked now is asked with the next renewal.
    if (this.#asking.has(workerId)) return;
    this.#asking.set(
      workerId,
      this.#ask(renewal).finally(() => this.#asking.delete(workerId)),
    );
  }

  /** Resolves when nothing is being asked any more. Never rejects. */
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
