import type { HostId, ItemId, JobId, RunId, WorkerId } from "../../domain/ids.ts";
import type { JsonText } from "../../domain/json-text.ts";
import type { Instant } from "../../domain/time.ts";

/** One line of the append-only record of changes that need explaining. */
export interface ActionRow {
  readonly id: number;
  readonly at: Instant;
  /** `noun.past`, as in the event catalogue. */
  readonly action: string;
  readonly actor: string;
  readonly reason: string | null;
  readonly message: string | null;
  readonly evidence: JsonText | null;
  readonly jobId: JobId | null;
  readonly runId: RunId | null;
  readonly itemId: ItemId | null;
  readonly workerId: WorkerId | null;
  readonly lease: string | null;
  readonly correlationId: string | null;
}

export type NewAction = Pick<ActionRow, "action" | "actor"> & Partial<Omit<ActionRow, "id" | "at" | "action" | "actor">>;

export interface ActionsStore {
  append(actions: readonly NewAction[]): Promise<void>;
  list(options: {
    readonly jobId?: JobId | undefined;
    readonly runId?: RunId | undefined;
    readonly itemId?: ItemId | undefined;
    readonly workerId?: WorkerId | undefined;
    readonly lease?: string | undefined;
    readonly before?: number | undefined;
    readonly after?: number | undefined;
    readonly limit: number;
  }): Promise<readonly ActionRow[]>;
}

/** A notification, state file or event that must leave the store at least once. */
export interface OutboxRow {
  readonly id: number;
  /** `state-file`: key is the item id, newest wins. `alert`: key is the cause, one entry per cause. */
  readonly kind: "state-file" | "alert";
  readonly key: string;
  readonly payload: JsonText;
  readonly attempts: number;
  readonly dueAt: Instant;
  readonly createdAt: Instant;
  /** Raised each time the same key is written again: a delivery completes only the revision that it read. */
  readonly revision: number;
  readonly lastError: string | null;
  /** Raised by each claim: the writes of whoever delivers name it, and one whose claim ran out changes nothing. */
  readonly claimFence: number;
}

/** Names an entry and the claim under which it is delivered. */
export type OutboxClaim = Pick<OutboxRow, "id" | "claimFence">;

export interface OutboxStore {
  put(entry: { readonly kind: OutboxRow["kind"]; readonly key: string; readonly payload: JsonText }): Promise<void>;
  /** What is due and claimed by nobody, whosever it is. */
  due(limit: number): Promise<readonly OutboxRow[]>;
  /** The same of what this host may deliver: its own entries, and those that are no host's. */
  dueFor(options: { readonly hostId: HostId; readonly limit: number }): Promise<readonly OutboxRow[]>;
  /**
   * Takes those of these entries that are free for 30 s, so that no other daemon delivers them. What another one is taking is passed over.
   * Answers what it took.
   */
  claim(options: { readonly hostId: HostId; readonly entries: readonly OutboxRow[] }): Promise<readonly OutboxRow[]>;
  /** Makes these claims last for another 30 s from now on. Answers the entries that are still held. */
  prolong(claims: readonly OutboxClaim[]): Promise<readonly number[]>;
  /** Gives back all that this host has claimed: its daemon stops, or a new one has proved that the last one is dead. */
  release(hostId: HostId): Promise<void>;
  /** Delivered: the entry goes, unless a newer revision was written meanwhile; that one is free. False: the claim is not held any more. */
  done(entry: OutboxClaim & Pick<OutboxRow, "revision">): Promise<boolean>;
  /**
   * Not delivered. False: the claim is not held any more.
   *
   * @param entry.underWay - The delivery may still arrive: the claim stays, so that nobody begins another beside it.
   */
  failed(
    entry: OutboxClaim & {
      readonly error: string;
      readonly dueAt: Instant;
      readonly dead: boolean;
      readonly underWay?: boolean | undefined;
    },
  ): Promise<boolean>;
  /** The claim ends, and nothing else changes. */
  letGo(entry: OutboxClaim): Promise<void>;
  listDead(limit: number): Promise<readonly OutboxRow[]>;
  depth(): Promise<number>;
}

/** A file that is already an item, kept until a decision is made. */
export interface DuplicateRow {
  readonly id: number;
  readonly pipeline: string;
  readonly key: string;
  readonly existingItemId: ItemId;
  readonly fileName: string;
  /** Where the file is kept. */
  readonly path: string;
  readonly sizeBytes: number;
  readonly detectedAt: Instant;
  readonly decision: "use_existing" | "discard" | "reprocess" | null;
  readonly decidedAt: Instant | null;
  readonly doneAt: Instant | null;
}

export interface DuplicatesStore {
  add(duplicate: Pick<DuplicateRow, "pipeline" | "key" | "existingItemId" | "fileName" | "path" | "sizeBytes">): Promise<number>;
  get(id: number): Promise<DuplicateRow | undefined>;
  /** `false`: there is none, or it was decided before. */
  decide(id: number, decision: NonNullable<DuplicateRow["decision"]>, actor: string): Promise<boolean>;
  /** Decided, not carried out yet. */
  listDecided(): Promise<readonly DuplicateRow[]>;
  finish(id: number): Promise<boolean>;
  list(limit: number): Promise<readonly DuplicateRow[]>;
  /** Retention: removes at most `limit` of those carried out before `doneBefore`, oldest first. Answers how many. */
  removeDone(options: { readonly doneBefore: Instant; readonly limit: number }): Promise<number>;
}
