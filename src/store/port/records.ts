import type { ItemId, JobId, RunId, WorkerId } from "../../domain/ids.ts";
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
}

export interface OutboxStore {
  put(entry: { readonly kind: OutboxRow["kind"]; readonly key: string; readonly payload: JsonText }): Promise<void>;
  due(limit: number): Promise<readonly OutboxRow[]>;
  /** Delivered: the entry goes, unless a newer revision was written meanwhile. */
  done(entry: { readonly id: number; readonly revision: number }): Promise<void>;
  failed(entry: { readonly id: number; readonly error: string; readonly dueAt: Instant; readonly dead: boolean }): Promise<void>;
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
