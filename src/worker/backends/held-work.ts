import type { RunId } from "../../domain/ids.ts";
import type { ClaimedRun, Fence } from "../../store/port/runs.ts";
import { claimsUnreceivedMax, type Renewal } from "../worker-backend.ts";

/** What the service remembers of a run that it gave to a session. */
export type RememberedRun = Pick<ClaimedRun, "runId" | "jobId" | "queue" | "itemId" | "attempt" | "ownerEpoch">;

/** Longer payloads are not kept in memory with what else is known of their run. */
const payloadCharsMax = 1000;

/**
 * The runs given to a session here, so that its reports cost no question to the store; others are looked up. Remembers who got a run, never
 * who has it: only the fence says that.
 */
export class HeldWork {
  readonly #runs = new Map<RunId, RememberedRun>();
  /** By number, the last claims that were answered here: the answers of these alone may be on their way. */
  readonly #lastClaims = new Map<number, readonly RunId[]>();

  /** Answers whether any of them belongs to an item. */
  take(claimed: readonly ClaimedRun[], seq: number): boolean {
    this.#lastClaims.set(
      seq,
      claimed.map(({ runId }) => runId),
    );
    for (const earlier of this.#lastClaims.keys()) if (earlier <= seq - claimsUnreceivedMax) this.#lastClaims.delete(earlier);
    let ofItems = false;
    for (const run of claimed) {
      // Copied only where needed: this is done for each job.
      this.#runs.set(run.runId, isShort(run) ? run : { ...run, payload: null });
      ofItems ||= run.itemId !== null;
    }
    return ofItems;
  }

  add(run: RememberedRun): void {
    this.#runs.set(run.runId, run);
  }

  of({ runId, ownerEpoch }: Fence): RememberedRun | undefined {
    const held = this.#runs.get(runId);
    return held?.ownerEpoch === ownerEpoch ? held : undefined;
  }

  has(runId: RunId): boolean {
    return this.#runs.has(runId);
  }

  drop(ended: readonly { readonly runId: RunId }[]): void {
    for (const { runId } of ended) this.#runs.delete(runId);
  }

  /**
   * What the session holds: the runs that it names, and those of a claim whose answer it has not confirmed but may have. Forgets the given
   * runs that it does not name.
   */
  heldBy({ held, claimSeqReceived }: Renewal): readonly RunId[] {
    const named = new Set(held);
    for (const [seq, claimed] of this.#lastClaims) {
      if (seq > claimSeqReceived) for (const runId of claimed) if (this.#runs.has(runId)) named.add(runId);
    }
    for (const runId of this.#runs.keys()) if (!named.has(runId)) this.#runs.delete(runId);
    return [...named];
  }
}

const isShort = ({ payload }: ClaimedRun): boolean => payload === null || payload.length <= payloadCharsMax;
