import type { RunId } from "../../domain/ids.ts";
import type { ClaimedRun, Fence } from "../../store/port/runs.ts";
import type { Renewal } from "../worker-backend.ts";

/** What the service remembers of a run that it gave to a session. */
export type RememberedRun = Pick<ClaimedRun, "runId" | "jobId" | "queue" | "itemId" | "attempt" | "ownerEpoch">;

/** Longer payloads are not kept for the sake of what else is known of their run. */
const payloadCharsMax = 1000;

/**
 * The runs that a session was given here, so that each of its words costs no question to the store. It says who a run was given to, never
 * that it still is theirs: that is the fence's to say. What is not remembered is looked up.
 */
export class HeldWork {
  readonly #runs = new Map<RunId, RememberedRun>();
  /** A worker claims again when the answer before has come: this one alone may be on its way. */
  #lastClaim: { readonly seq: number; readonly claimed: readonly ClaimedRun[] } = { seq: 0, claimed: [] };

  /** Answers whether any of them is of an item. */
  take(claimed: readonly ClaimedRun[], seq: number): boolean {
    this.#lastClaim = { seq, claimed };
    let ofItems = false;
    for (const run of claimed) {
      // Not copied where that is not needed: this is done for each job.
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
   * What the session holds: what it says, and what it was given by a claim whose answer it has not confirmed, because it may have that already.
   * Forgets what it was given and does not name.
   */
  heldBy({ held, claimSeqReceived }: Renewal): readonly RunId[] {
    const named = new Set(held);
    const { seq, claimed } = this.#lastClaim;
    if (seq > claimSeqReceived) for (const { runId } of claimed) if (this.#runs.has(runId)) named.add(runId);
    for (const runId of this.#runs.keys()) if (!named.has(runId)) this.#runs.delete(runId);
    return [...named];
  }
}

const isShort = ({ payload }: ClaimedRun): boolean => payload === null || payload.length <= payloadCharsMax;
