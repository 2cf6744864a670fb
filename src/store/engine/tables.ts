import type { ColumnType, Generated, Selectable, SqlBool } from "kysely";
import type { Spend } from "../../domain/budget.ts";
import type { HostId, ItemId, JobId, OwnerEpoch, RunId, VisitId, WorkerId } from "../../domain/ids.ts";
import type { ItemState, VisitState } from "../../domain/lifecycles/item.ts";
import type { JobState } from "../../domain/lifecycles/job.ts";
import type { LeaseState } from "../../domain/lifecycles/lease.ts";
import type { RunOutcome, RunState } from "../../domain/lifecycles/run.ts";
import type { WorkerState } from "../../domain/lifecycles/worker.ts";
import type { DurationMs, Instant } from "../../domain/time.ts";

/**
 * The tables as both engines have them. A flag is read as 0, 1, false or true, whichever the engine stores: mappers call `Boolean()`;
 * conditions are written `where("paused", "is", false)`, which both understand, and values are given as booleans.
 */
type Flag = ColumnType<SqlBool, boolean, boolean>;
type FlagWithDefault = ColumnType<SqlBool, boolean | undefined, boolean>;
type WithDefault<T> = ColumnType<T, T | undefined, T>;
/** A column that may be left out of an insert: it is null then. */
type Maybe<T> = ColumnType<T | null, T | null | undefined, T | null>;

export interface MetaTable {
  name: string;
  value: string;
}

export interface QueuesTable {
  id: Generated<number>;
  name: string;
  kind: "command" | "handler";
  slot_key: Maybe<string>;
  paused: FlagWithDefault;
}

export interface SlotsTable {
  key: string;
  capacity: number;
  used: WithDefault<number>;
}

export interface PipelineVersionsTable {
  id: Generated<number>;
  pipeline: string;
  hash: string;
  definition: string;
  put_at: Instant;
  current: Flag;
}

export interface ItemsTable {
  id: Generated<ItemId>;
  pipeline: string;
  pipeline_version: string;
  key: string;
  dir: string;
  state: ItemState;
  stage: string;
  visit_id: Maybe<VisitId>;
  visit_count: WithDefault<number>;
  input: string;
  label: Maybe<string>;
  repo: Maybe<string>;
  branch: Maybe<string>;
  error: Maybe<string>;
  created_at: Instant;
  updated_at: Instant;
  finished_at: Maybe<Instant>;
  priority: WithDefault<number>;
  /** Which holds its work directory. */
  host_id: Maybe<HostId>;
}

export interface VisitsTable {
  id: Generated<VisitId>;
  item_id: ItemId;
  stage: string;
  number: number;
  state: VisitState;
  counts: FlagWithDefault;
  attempts: WithDefault<number>;
  max_attempts: number;
  losses: WithDefault<number>;
  max_losses: Maybe<number>;
  last_loss_at: Maybe<Instant>;
  opened_at: Instant;
  closed_at: Maybe<Instant>;
  output: Maybe<string>;
}

/** What a job is between its runs; while one lives it stays `queued`. */
export type StoredJobState = Exclude<JobState, "running">;
/** The states that people look for. */
export type JobNote = Extract<JobState, "held" | "failed" | "cancelled">;

export interface JobsTable {
  id: Generated<JobId>;
  queue_id: number;
  state: StoredJobState;
  priority: WithDefault<number>;
  run_at: Instant;
  created_at: Instant;
  finished_at: Maybe<Instant>;
  attempts: WithDefault<number>;
  max_attempts: WithDefault<number>;
  losses: WithDefault<number>;
  max_losses: Maybe<number>;
  last_loss_at: Maybe<Instant>;
  run_count: WithDefault<number>;
  blocked_by: Maybe<RunId>;
  stop_by: Maybe<Instant>;
  paused: FlagWithDefault;
  item_id: Maybe<ItemId>;
  visit_id: Maybe<VisitId>;
  agent: Maybe<string>;
  repo: Maybe<string>;
  enqueue_id: Maybe<string>;
  payload: Maybe<string>;
  output: Maybe<string>;
  error: Maybe<string>;
  slot_key: Maybe<string>;
  lease: Maybe<string>;
  scheduled_at: Maybe<Instant>;
  note: Maybe<JobNote>;
  open_visit_id: Maybe<VisitId>;
  /** Of its item. */
  host_id: Maybe<HostId>;
}

/** What any worker may claim now, and nothing else. */
export interface ReadyTable {
  queue_id: number;
  priority: number;
  job_id: JobId;
}

/** What one host alone may claim now. */
export interface ReadyOnHostTable extends ReadyTable {
  host_id: HostId;
}

/** The daemon of each data directory, or the last one that it had. */
export interface DaemonsTable {
  host_id: HostId;
  boot_id: string;
  pid_namespace: string;
  pid: number;
  start_time: string;
  place: string;
  url: Maybe<string>;
  version: string;
  started_at: Instant;
  heard_at: Instant;
  ended_at: Maybe<Instant>;
}

export interface WorkersTable {
  id: Generated<WorkerId>;
  name: string;
  kind: "command" | "handler" | "run";
  state: WorkerState;
  host_id: HostId;
  boot_id: string;
  pid_namespace: string;
  pid: number;
  start_time: string;
  concurrency: number;
  queues: string;
  registered_at: Instant;
  last_heard_at: Instant;
  ended_at: Maybe<Instant>;
  claim_seq_received: WithDefault<number>;
  loop_lag_ms: Maybe<number>;
  /** The host of the daemon that hears it. */
  via: Maybe<HostId>;
}

/** What a live run and an ended one have alike. */
interface RunColumns {
  id: RunId;
  job_id: JobId;
  attempt: number;
  owner_epoch: WithDefault<OwnerEpoch>;
  worker_id: Maybe<WorkerId>;
  kind: "command" | "handler";
  claim_seq: WithDefault<number>;
  reserved_at: Instant;
  started_at: Maybe<Instant>;
  exited_at: Maybe<Instant>;
  host_id: Maybe<HostId>;
  boot_id: Maybe<string>;
  pid_namespace: Maybe<string>;
  pid: Maybe<number>;
  start_time: Maybe<string>;
  wrapper_pid: Maybe<number>;
  wrapper_start_time: Maybe<string>;
  timeout_ms: Maybe<DurationMs>;
  heartbeat_timeout_ms: Maybe<DurationMs>;
  max_running_ms: Maybe<DurationMs>;
  suspended_ms: WithDefault<DurationMs>;
  progress_at: Maybe<Instant>;
  progress: Maybe<string>;
  exit_code: Maybe<number>;
  gate_pending_at: Maybe<Instant>;
  slot_key: Maybe<string>;
}

/** Runs that have not ended, one at most for each job. */
export interface LiveTable extends RunColumns {
  state: Exclude<RunState, "ended">;
  check_at: Instant;
  item_id: Maybe<ItemId>;
}

/** Runs that have ended: history, written once. */
export interface RunsTable extends RunColumns {
  state: RunState;
  ended_at: Maybe<Instant>;
  check_at: Maybe<Instant>;
  outcome: Maybe<RunOutcome>;
  reason: Maybe<string>;
  message: Maybe<string>;
  evidence: Maybe<string>;
  spent: Maybe<Spend>;
  by_session_death: FlagWithDefault;
}

/** Who holds a lease or waits for one: a run, or a registered process. */
interface HolderColumns {
  holder_run_id: Maybe<RunId>;
  holder_host_id: Maybe<HostId>;
  holder_boot_id: Maybe<string>;
  holder_pid_namespace: Maybe<string>;
  holder_pid: Maybe<number>;
  holder_start_time: Maybe<string>;
}

export interface LeasesTable extends HolderColumns {
  name: string;
  state: LeaseState;
  ticket: Maybe<string>;
  fencing: number;
  ttl_ms: DurationMs;
  max_hold_ms: DurationMs;
  granted_at: Maybe<Instant>;
  expires_at: Maybe<Instant>;
  alerted_at: Maybe<Instant>;
}

export interface LeaseWaitersTable extends HolderColumns {
  id: Generated<number>;
  name: string;
  ticket: string;
  ttl_ms: DurationMs;
  max_hold_ms: DurationMs;
  asked_at: Instant;
  timeout_at: Instant;
}

export interface ActionLogsTable {
  id: Generated<number>;
  at: Instant;
  action: string;
  actor: string;
  reason: Maybe<string>;
  message: Maybe<string>;
  evidence: Maybe<string>;
  job_id: Maybe<JobId>;
  run_id: Maybe<RunId>;
  item_id: Maybe<ItemId>;
  worker_id: Maybe<WorkerId>;
  lease: Maybe<string>;
  correlation_id: Maybe<string>;
}

export interface OutboxTable {
  id: Generated<number>;
  kind: "state-file" | "alert";
  key: string;
  payload: string;
  revision: WithDefault<number>;
  attempts: WithDefault<number>;
  due_at: Maybe<Instant>;
  created_at: Instant;
  last_error: Maybe<string>;
  /** The only host that may deliver it. */
  host_id: Maybe<HostId>;
  claimed_by: Maybe<HostId>;
  claimed_until: Maybe<Instant>;
  claim_fence: WithDefault<number>;
}

export interface DuplicatesTable {
  id: Generated<number>;
  pipeline: string;
  key: string;
  existing_item_id: ItemId;
  file_name: string;
  path: string;
  size_bytes: number;
  detected_at: Instant;
  decision: Maybe<"use_existing" | "discard" | "reprocess">;
  decided_at: Maybe<Instant>;
  done_at: Maybe<Instant>;
}

export interface HostsTable {
  host_id: HostId;
  boot_id: string;
  seen_at: Instant;
}

/** Which migrations this database has had, by number. */
export interface MigrationsTable {
  number: number;
  name: string;
  applied_at: Instant;
}

export interface Database {
  meta: MetaTable;
  queues: QueuesTable;
  slots: SlotsTable;
  pipeline_versions: PipelineVersionsTable;
  items: ItemsTable;
  visits: VisitsTable;
  jobs: JobsTable;
  ready: ReadyTable;
  ready_on_host: ReadyOnHostTable;
  daemons: DaemonsTable;
  live: LiveTable;
  workers: WorkersTable;
  runs: RunsTable;
  leases: LeasesTable;
  lease_waiters: LeaseWaitersTable;
  action_logs: ActionLogsTable;
  outbox: OutboxTable;
  duplicates: DuplicatesTable;
  hosts: HostsTable;
  migrations: MigrationsTable;
}

/** A row as a select of all its columns answers it. */
export type RowOf<Table extends keyof Database> = Selectable<Database[Table]>;
