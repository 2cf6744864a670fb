import { isWakefulError, messageOf } from "../../domain/errors.ts";
import type { WorkerId } from "../../domain/ids.ts";
import type { ClaimRequest } from "../../store/port/runs.ts";
import type { Emit } from "../../telemetry/events.ts";
import type { ClaimedWork } from "../worker-backend.ts";

export interface ClaimerOptions {
  readonly claim: (request: ClaimRequest) => Promise<readonly ClaimedWork[]>;
  readonly queues: ClaimRequest["queues"];
  /** Unique in the store. */
  readonly newClaimId: () => string;
  readonly emit: Emit;
  readonly onClaimed: (runs: readonly ClaimedWork[]) => void;
  /** A claim failed. It is repeated after the next {@link Claimer.lookAgain}. */
  readonly onFailed: () => void;
}

/** One claim at a time, and none while there is no reason to expect jobs. */
export class Claimer {
  readonly #options: ClaimerOptions;
  #claiming = false;
  #seq = 0;
  #seqReceived = 0;
  /** A claim whose answer never came. It is repeated under the same id, because it may have taken runs that nobody knows of. */
  #unanswered: ClaimRequest | undefined;
  /** The last claim found less than it asked for: the next waits for a hint or the poll. */
  #dry = false;
  /** A hint came while a claim was on its way, which may have missed the new jobs. */
  #hinted = false;

  constructor(options: ClaimerOptions) {
    this.#options = options;
  }

  get busy(): boolean {
    return this.#claiming;
  }

  get ready(): boolean {
    return !this.#claiming && !this.#dry;
  }

  get seqReceived(): number {
    return this.#seqReceived;
  }

  /** There may be jobs again. */
  lookAgain(): void {
    this.#dry = false;
    this.#hinted = true;
  }

  /**
   * Asks for at most `max` runs, from 1 to the store's maximum; the first `startNow` of them as started. Call it only when {@link ready}.
   */
  claim(workerId: WorkerId, room: { readonly max: number; readonly startNow: number }): void {
    const request = this.#unanswered ?? this.#next(workerId, room);
    this.#claiming = true;
    this.#hinted = false;
    this.#options.claim(request).then(
      (runs) => {
        this.#claiming = false;
        this.#unanswered = undefined;
        this.#seqReceived = request.claimSeq;
        this.#dry = runs.length < request.max && !this.#hinted;
        this.#options.onClaimed(runs);
      },
      (thrown: unknown) => {
        this.#claiming = false;
        this.#unanswered = request;
        // The poll asks again: asking at once would only add load to a store in trouble.
        this.#dry = true;
        const code = isWakefulError(thrown) ? thrown.code : "claim_failed";
        this.#options.emit("store.degraded", { code, message: messageOf(thrown) });
        this.#options.onFailed();
      },
    );
  }

  #next(workerId: WorkerId, { max, startNow }: { readonly max: number; readonly startNow: number }): ClaimRequest {
    this.#seq++;
    return { claimId: this.#options.newClaimId(), workerId, claimSeq: this.#seq, queues: this.#options.queues, max, startNow };
  }
}
