import { sql } from "kysely";
import type { MigrationStep, SlicedStep } from "../engine/migration.ts";

/**
 * Only runs that declare a ceiling store one; others follow the setting. A column of this engine cannot be freed of its `not null`, so the
 * table is made anew. Stores in use had this as one text (decision 0019).
 */
const makeRuns = `
create table new_runs (
  id integer primary key,
  job_id integer not null,
  attempt integer not null,
  state text not null references run_states (state),
  owner_epoch integer not null default 1,
  worker_id integer,
  kind text not null,
  claim_seq integer not null default 0,
  reserved_at integer not null,
  started_at integer,
  exited_at integer,
  ended_at integer,
  check_at integer,
  host_id text,
  boot_id text,
  pid_namespace text,
  pid integer,
  start_time text,
  wrapper_pid integer,
  wrapper_start_time text,
  timeout_ms integer,
  heartbeat_timeout_ms integer,
  max_running_ms integer,
  suspended_ms integer not null default 0,
  progress_at integer,
  progress text,
  exit_code integer,
  gate_pending_at integer,
  slot_key text,
  outcome text references run_outcomes (state),
  reason text,
  message text,
  evidence text,
  spent text check (spent = 'attempt' or spent = 'nothing' or spent = 'loss'),
  by_session_death integer not null default 0,
  check ((ended_at is null) = (state <> 'ended')),
  check ((outcome is null) = (state <> 'ended'))
);
-- Their names and their pages are used again.
drop index runs_of_job;
drop index runs_of_worker;
drop index runs_due;
drop index runs_holding_slots;
drop index runs_local;
create unique index runs_of_job on new_runs (job_id, attempt);
-- What a session holds: read when its process is dead, and to know a claim that is asked again.
create index runs_of_worker on new_runs (worker_id, claim_seq, id) where ended_at is null;
-- What the job-reaper reads: the due, never all. Beats do not touch check_at.
create index runs_due on new_runs (check_at) where ended_at is null;
create index runs_holding_slots on new_runs (slot_key) where slot_key is not null;
create index runs_local on new_runs (host_id, pid) where ended_at is null and pid is not null;

create index duplicates_done on duplicates (done_at, id) where done_at is not null;
-- Who watches sessions reads those that ended of late, not all that ever did.
create index workers_ended on workers (ended_at, id) where ended_at is not null;
`;

const copyRuns: SlicedStep = {
  name: "runs",
  slice: async (tx, { limit }) => {
    const { numAffectedRows } = await sql`
      insert into new_runs (id, job_id, attempt, state, owner_epoch, worker_id, kind, claim_seq, reserved_at, started_at, exited_at, ended_at,
        check_at, host_id, boot_id, pid_namespace, pid, start_time, wrapper_pid, wrapper_start_time, timeout_ms,
        heartbeat_timeout_ms, max_running_ms, suspended_ms, progress_at, progress, exit_code, gate_pending_at, slot_key, outcome,
        reason, message, evidence, spent, by_session_death)
      select id, job_id, attempt, state, owner_epoch, worker_id, kind, claim_seq, reserved_at, started_at, exited_at, ended_at,
        check_at, host_id, boot_id, pid_namespace, pid, start_time, wrapper_pid, wrapper_start_time, timeout_ms,
        heartbeat_timeout_ms, max_running_ms, suspended_ms, progress_at, progress, exit_code, gate_pending_at, slot_key, outcome,
        reason, message, evidence, spent, by_session_death
      from runs where id > (select coalesce(max(id), -1) from new_runs) order by id limit ${limit}`.execute(tx);
    const moved = Number(numAffectedRows ?? 0n);
    // Each slice finds by itself where the one before it ended.
    return { after: moved === 0 ? undefined : [], moved };
  },
  // To count them would read the whole table, and their ids have gaps as wide as an epoch.
  left: async () => undefined,
};

export const ownLimitsSteps: readonly MigrationStep[] = [
  { name: "making the new table of runs", text: makeRuns },
  copyRuns,
  { name: "leaving the old table of runs", text: "drop table runs;\nalter table new_runs rename to runs;" },
];
