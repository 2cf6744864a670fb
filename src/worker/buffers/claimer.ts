import { isWakefulError, messageOf } from "../../domain/errors.ts";
import type { WorkerId } from "../../domain/ids.ts";
import type { ClaimRequest } from "../../store/port/runs.ts";
import type { Emit } from "../../telemetry/events.ts";
import { type ClaimedWork, claimsUnreceivedMax } from "../worker-backend.ts";

export interface ClaimerOptions {
  readonly claim: (request: ClaimRequest) => Promise<readonly ClaimedWork[]>;
  readonly queues: ClaimRequest["queues"];
  /** How many claims may be without an answer at once. Default 1. */
  readonly atOnce?: number | undefined;
  /** Unique in the store. Claims are named by it and their number: a random id for each took an idle worker 0.1 ms. */
  readonly name: string;
  readonly emit: Emit;
  readonly onClaimed: (runs: readonly ClaimedWork[]) => void;
  /** A claim failed. It is repeated after the next {@link Claimer.lookAgain}. */
  readonly onFailed: () => void;
}

/** At most `max` runs, from 1 to the store's maximum; the first `startNow` of them as started. */
export interface ClaimRoom extends Pick<ClaimRequest, "max" | "startNow"> {
  /** Absent: all that the claimer was made for. */
  readonly queues?: ClaimRequest["queues"];
}

/**
 * Asks for jobs, and not while there is no reason to expect any. Claims have numbers, at most {@link claimsUnreceivedMax} beyond those that
 * have all been answered, so that who hears of one knows which may be on their way.
 */
export class Claimer {
  readonly #options: ClaimerOptions;
  readonly #atOnce: number;
  readonly #underWay = new Set<ClaimRequest>();
  /** Claims whose answers never came. They are repeated under the same ids, because they may have taken runs that nobody knows of. */
  #unanswered: ClaimRequest[] = [];
  #seq = 0;
  #seqReceived = 0;
  /** Answered before an earlier one. */
  readonly #receivedEarly = new Set<number>();
  /** The last claim found less than it asked for: the next waits for a hint or the poll. */
  #dry = false;
  /** The last claim found all that it asked for. A second one beside it would else only ask the same question twice. */
  #plenty = false;
  #givenUp = false;
  /** Counted, because a claim that was on its way when a hint came may have missed the new jobs. */
  #hints = 0;

  constructor(options: ClaimerOptions) {
    this.#options = options;
    this.#atOnce = options.atOnce ?? 1;
  }

  get busy(): boolean {
    return this.#underWay.size > 0;
  }

  /** All claims up to this number have been answered, or never will be asked again. */
  get seqReceived(): number {
    return this.#seqReceived;
  }

  /** Repeats no claim any more. What an unanswered one took is told to be not held, so that its judge gives it back. */
  giveUp(): void {
    this.#givenUp = true;
    for (const request of this.#unanswered.splice(0)) this.#received(request);
  }

  /** There may be jobs again. */
  lookAgain(): void {
    this.#dry = false;
    this.#hints++;
  }

  /**
   * Repeats what was not answered, or else asks for as much as `roomBeside` says there is room for, beside what is asked for already. Answers
   * whether it asked.
   */
  claim(workerId: WorkerId, roomBeside: (asked: ClaimRoom) => ClaimRoom): boolean {
    if (this.#dry) return false;
    if (this.#unanswered.length > 0) {
      for (const request of this.#unanswered.splice(0)) this.#ask(request);
      return true;
    }
    const atOnce = this.#plenty ? this.#atOnce : 1;
    if (this.#underWay.size >= atOnce || this.#seq - this.#seqReceived >= claimsUnreceivedMax) return false;
    const room = roomBeside(this.#asked());
    if (room.max < 1) return false;
    this.#seq++;
    const { name, queues } = this.#options;
    this.#ask({ claimId: `${name}-${this.#seq}`, workerId, claimSeq: this.#seq, queues, ...room });
    return true;
  }

  #ask(request: ClaimRequest): void {
    const hints = this.#hints;
    this.#underWay.add(request);
    this.#options.claim(request).then(
      (runs) => {
        this.#received(request);
        const short = runs.length < request.max;
        if (short && hints === this.#hints) this.#dry = true;
        this.#plenty = !short && !this.#dry;
        this.#options.onClaimed(runs);
      },
      (thrown: unknown) => {
        this.#underWay.delete(request);
        if (this.#givenUp) this.#received(request);
        else this.#unanswered.push(request);
        this.#plenty = false;
        // The poll asks again: asking at once would only add load to a store in trouble.
        this.#dry = true;
        const code = isWakefulError(thrown) ? thrown.code : "claim_failed";
        this.#options.emit("store.degraded", { code, message: messageOf(thrown) });
        this.#options.onFailed();
      },
    );
  }

  #received(request: ClaimRequest): void {
    this.#underWay.delete(request);
    this.#receivedEarly.add(request.claimSeq);
    while (this.#receivedEarly.delete(this.#seqReceived + 1)) this.#seqReceived++;
  }

  #asked(): ClaimRoom {
    let [max, startNow] = [0, 0];
    for (const request of this.#underWay) {
      max += request.max;
      startNow += request.startNow;
    }
    return { max, startNow };
  }
}
