import type { JobId } from "../../domain/ids.ts";
import type { Instant } from "../../domain/time.ts";
import type { StoreHint } from "../port/store.ts";

/** A place in a queue's order. */
export interface QueuePlace {
  readonly priority: number;
  readonly jobId: JobId;
}

/** How long a bound may hide what came before it without a hint, such as the jobs of another process's claim that was undone. */
const validMs = 1_000;

/** What a claim was built with: it may move a bound only while nothing has come before it since. */
export type BoundsVersion = number;

interface Bound {
  readonly place: QueuePlace;
  /** Of the last claim that read the queue from its beginning. */
  readonly wholeAt: Instant;
}

/**
 * From where claims read each queue: behind what this process took last, whose dead entries an old transaction keeps at the head of the index.
 * A queue without a bound is read from its beginning.
 */
export class ClaimBounds {
  readonly #bounds = new Map<number, Bound>();
  #version: BoundsVersion = 0;

  get version(): BoundsVersion {
    return this.#version;
  }

  /** Behind which place a claim reads this queue now. Undefined: it reads all of it. */
  of(queueId: number, now: Instant): QueuePlace | undefined {
    const bound = this.#bounds.get(queueId);
    if (bound === undefined) return undefined;
    // The store's clock may be set back.
    if (Math.abs(now - bound.wholeAt) < validMs) return bound.place;
    this.#bounds.delete(queueId);
    return undefined;
  }

  /**
   * Told of the last job that a claim took of a queue, all before it being taken or locked.
   *
   * @param since - The version at which the claim was built: jobs that came later may stand before the place, and it has not seen them.
   */
  took(queueId: number, { place, since, now }: { readonly place: QueuePlace; readonly since: BoundsVersion; readonly now: Instant }): void {
    if (since !== this.#version) return;
    const known = this.#bounds.get(queueId);
    // Of two claims that were at work at once, the one that began later may be answered first.
    if (known !== undefined && !isBefore(known.place, place)) return;
    this.#bounds.set(queueId, { place, wholeAt: known?.wholeAt ?? now });
  }

  /** Jobs may have become claimable anywhere. */
  drop(): void {
    this.#version += 1;
    this.#bounds.clear();
  }

  /** Every verb that makes jobs claimable gives this hint, after its commit. */
  hear(hint: StoreHint): void {
    if (hint === "jobs") this.drop();
  }
}

function isBefore(a: QueuePlace, b: QueuePlace): boolean {
  return a.priority < b.priority || (a.priority === b.priority && a.jobId < b.jobId);
}
