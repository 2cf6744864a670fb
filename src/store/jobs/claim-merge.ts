import type { JobId } from "../../domain/ids.ts";

/** The claimable jobs of one queue, in (priority, id) order, no more than its slot has room for. */
export interface QueuePick {
  readonly kind: "command" | "handler";
  readonly slotKey: string | null;
  readonly jobs: readonly (readonly [priority: number, id: JobId])[];
}

/** What is taken of one queue: its first jobs, of which the first ones start with the claim. */
export interface QueueShare {
  readonly queue: number;
  readonly count: number;
  readonly started: number;
}

export interface MergedClaim {
  readonly shares: readonly QueueShare[];
  /** All jobs taken, in the order in which they are to be worked on. */
  readonly order: readonly JobId[];
  /** How many are taken of each slot, in key order: the order in which slots are always touched. */
  readonly slots: readonly (readonly [key: string, count: number])[];
}

/** Takes the best `max` of all queues within their slots. `free` is the room of each slot, shared by the queues that name it. */
export function mergeClaim(options: {
  readonly picks: readonly QueuePick[];
  readonly free: ReadonlyMap<string, number>;
  readonly max: number;
  readonly startNow: number;
}): MergedClaim {
  const { picks, max } = options;
  const candidates = picks.flatMap((pick, queue) => pick.jobs.map(([priority, id]) => ({ priority, id, queue })));
  if (picks.length > 1) candidates.sort((a, b) => a.priority - b.priority || a.id - b.id);
  const used = new Map<string, number>();
  const shares = new Map<number, { queue: number; count: number; started: number }>();
  let startable = options.startNow;
  const order: JobId[] = [];
  for (const { id, queue } of candidates) {
    if (order.length === max) break;
    const pick = picks[queue] as QueuePick;
    if (pick.slotKey !== null) {
      const use = used.get(pick.slotKey) ?? 0;
      // A slot that is full stays so: what is taken of a queue is a beginning of what was picked of it.
      if (use >= (options.free.get(pick.slotKey) ?? 0)) continue;
      used.set(pick.slotKey, use + 1);
    }
    const share = shares.get(queue) ?? { queue, count: 0, started: 0 };
    shares.set(queue, share);
    share.count += 1;
    if (pick.kind === "handler" && startable > 0) {
      startable -= 1;
      share.started += 1;
    }
    order.push(id);
  }
  return { shares: [...shares.values()], order, slots: [...used].sort(([a], [b]) => (a < b ? -1 : 1)) };
}

/** The runs, which were written queue by queue, in the order of their jobs. */
export function inOrder<Run extends { readonly jobId: JobId }>(runs: readonly Run[], order: readonly JobId[]): readonly Run[] {
  const places = new Map(order.map((id, place) => [id, place]));
  return [...runs].sort((a, b) => (places.get(a.jobId) ?? 0) - (places.get(b.jobId) ?? 0));
}
