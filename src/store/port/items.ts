import type { HostId, ItemId, JobId, VisitId } from "../../domain/ids.ts";
import type { JsonText } from "../../domain/json-text.ts";
import type { ItemState, VisitState } from "../../domain/lifecycles/item.ts";
import type { Instant } from "../../domain/time.ts";
import type { RetryPolicy } from "../../liveness/retry-contract.ts";
import type { JobRow } from "./jobs.ts";
import type { Advance, Cancelled, RunRow } from "./runs.ts";

export interface ItemRow {
  readonly id: ItemId;
  readonly pipeline: string;
  readonly pipelineVersion: string;
  /** Unique in its pipeline; never begins with `-` or `.`, never leaves its directory. */
  readonly key: string;
  /** Relative to the data directory's `work/`; unique in the store. */
  readonly dir: string;
  readonly state: ItemState;
  readonly stage: string;
  readonly visitId: VisitId;
  readonly input: JsonText;
  /** The name people know it by: the source file's. */
  readonly label: string | null;
  readonly repo: string | null;
  readonly branch: string | null;
  readonly error: string | null;
  /** The host whose data directory holds its work directory: nobody else claims its jobs. Null: any host may. */
  readonly hostId: HostId | null;
  readonly createdAt: Instant;
  readonly updatedAt: Instant;
  readonly finishedAt: Instant | null;
}

export interface VisitRow {
  readonly id: VisitId;
  readonly itemId: ItemId;
  readonly stage: string;
  /** Number of the visit within its item, from 1. */
  readonly number: number;
  readonly state: VisitState;
  /** False once a rerun from an earlier stage replaced it. */
  readonly counts: boolean;
  readonly attempts: number;
  readonly maxAttempts: number;
  readonly losses: number;
  readonly maxLosses: number | null;
  readonly openedAt: Instant;
  readonly closedAt: Instant | null;
  readonly output: JsonText | null;
}

export type StageEntry = Extract<Advance, { kind: "next" }>;

export interface NewItem {
  readonly pipeline: string;
  readonly key: string;
  readonly dir: string;
  readonly input: JsonText;
  readonly label?: string | undefined;
  readonly repo?: string | undefined;
  readonly branch?: string | undefined;
  /** Which holds the work directory. Absent: any host may run it. */
  readonly hostId?: HostId | undefined;
  readonly first: StageEntry;
  readonly actor: string;
}

/** An active item whose visit has no unfinished job. */
export interface StrandedItem {
  readonly item: ItemRow;
  readonly visit: VisitRow;
  readonly lastJob: JobRow | undefined;
  readonly lastRun: RunRow | undefined;
}

export interface ItemsStore {
  /** Stores a pipeline version by its content hash; idempotent. The newest put is the current one. */
  putPipeline(version: { readonly pipeline: string; readonly hash: string; readonly definition: JsonText }): Promise<void>;
  getPipeline(pipeline: string, hash?: string): Promise<{ readonly hash: string; readonly definition: JsonText } | undefined>;
  /**
   * Keeps which pipelines the daemon of this data directory declares, replacing what it declared before, where several daemons share the
   * store. Nothing is kept where one daemon owns it, and is asked itself.
   */
  declarePipelines(declaration: { readonly hostId: HostId; readonly pipelines: readonly string[] }): Promise<void>;
  /**
   * Pipelines that the daemons of a shared store declare, including daemons that are down. A host without any session on record does not
   * count any more. Empty where one daemon owns the store.
   */
  declaredPipelines(): Promise<readonly string[]>;
  listPipelines(): Promise<
    readonly {
      readonly pipeline: string;
      readonly hash: string;
      readonly paused: boolean;
    }[]
  >;
  /** Item, first visit and first job in one transaction. The same (pipeline, key) again answers the one that exists, `created: false`. */
  add(item: NewItem): Promise<{ readonly item: ItemRow; readonly created: boolean }>;
  get(id: ItemId): Promise<ItemRow | undefined>;
  byKey(pipeline: string, key: string): Promise<ItemRow | undefined>;
  list(options: {
    readonly pipeline?: string | undefined;
    readonly states?: readonly ItemState[] | undefined;
    readonly before?: ItemId | undefined;
    readonly limit: number;
  }): Promise<readonly ItemRow[]>;
  visits(id: ItemId): Promise<readonly VisitRow[]>;
  jobs(id: ItemId): Promise<readonly JobRow[]>;
  /** A new visit of `entry.stage`; the visits of it and of later stages (`uncounted`) no longer count. Refused (undefined) while a job is unfinished. */
  rerun(
    id: ItemId,
    options: {
      readonly entry: StageEntry;
      readonly uncounted: readonly string[];
      readonly actor: string;
    },
  ): Promise<JobId | undefined>;
  /** A failed item again: same visit, new job, fresh budget. Undefined: it has not failed, or `entry` is not the stage it failed in. */
  retry(id: ItemId, options: { readonly entry: StageEntry; readonly actor: string }): Promise<JobId | undefined>;
  /** Ends an unfinished item, its visit and its job; a running job is blocked until its process is proved stopped. Undefined: it is finished. */
  cancel(
    id: ItemId,
    options: {
      readonly actor: string;
      readonly reason: string;
      readonly stopBy: Instant;
    },
  ): Promise<Cancelled | undefined>;
  /** active <-> paused; its queued job becomes unclaimable, running work ends by itself. */
  setPaused(id: ItemId, options: { readonly paused: boolean; readonly actor: string }): Promise<boolean>;
  /**
   * Gives an item and its job to another host. Refused while a run lives or is being stopped (`running`), and where it waits for its host and
   * `unless` says so. What was held for a lost host is queued again.
   */
  move(
    id: ItemId,
    options: { readonly to: HostId; readonly unless?: "waiting" | undefined; readonly actor: string },
  ): Promise<"moved" | "running" | "waiting" | undefined>;
  /**
   * Gives all items of these hosts to the one whose data directory has them now. `everybody`: those of no host too, where one daemon owns
   * the store. Answers how many unfinished items it took.
   */
  takeAll(options: { readonly to: HostId; readonly from: readonly HostId[] | "everybody" }): Promise<number>;
  /** The hosts that unfinished items are pinned to. */
  hostsOfUnfinished(): Promise<readonly HostId[]>;
  listStranded(options: { readonly limit: number; readonly after?: ItemId | undefined }): Promise<readonly StrandedItem[]>;
  /**
   * Gives an open visit without a job what its budget allows: another job, a held one, or the item's end as failed. Guarded: undefined when
   * the visit has an unfinished job or moved on.
   */
  redrive(
    id: ItemId,
    options: {
      readonly visitId: VisitId;
      readonly entry: StageEntry;
      readonly onExhausted: RetryPolicy["onExhausted"];
      readonly actor: string;
      readonly reason: string;
    },
  ): Promise<"queued" | "held" | "failed" | undefined>;
  /** Moves an item past an open visit whose last job is done (reconciler). Guarded the same way. */
  advance(
    id: ItemId,
    options: {
      readonly visitId: VisitId;
      readonly advance: Advance;
      readonly actor: string;
      readonly reason: string;
    },
  ): Promise<boolean>;
  /** Ends an active item like its last job, which failed or was cancelled. Guarded by the visit: false when it has an unfinished job or moved on. */
  end(
    id: ItemId,
    options: {
      readonly visitId: VisitId;
      readonly state: "failed" | "cancelled";
      readonly actor: string;
      readonly reason: string;
    },
  ): Promise<boolean>;
}
