import { type Kysely, sql } from "kysely";
import type { ContradictionCheck, MigrationStep, Slice, SlicedStep } from "../engine/migration.ts";
import type { Database } from "../engine/tables.ts";

/**
 * Frozen: what a store of the earlier shape becomes (decision 0018), in steps (decision 0019). The table of jobs is made anew, for a CHECK
 * of this engine cannot be altered.
 */
const makeTables = `
create table new_jobs (
  id integer primary key autoincrement,
  queue_id integer not null references queues (id),
  -- What it is between its runs: while one lives it stays queued, and live has the run.
  state text not null references job_states (state),
  priority integer not null default 0,
  run_at integer not null,
  created_at integer not null,
  finished_at integer,
  -- What ended runs have spent. A live run that has started counts as one more.
  attempts integer not null default 0 check (attempts >= 0),
  max_attempts integer not null default 2 check (max_attempts >= 1),
  losses integer not null default 0 check (losses >= 0),
  max_losses integer,
  last_loss_at integer,
  run_count integer not null default 0,
  -- The run that is still being stopped: not claimable, its slot and leases stay taken.
  blocked_by integer,
  stop_by integer,
  paused integer not null default 0,
  item_id integer,
  visit_id integer,
  agent text,
  repo text,
  enqueue_id text,
  payload text,
  output text,
  error text,
  -- The slot and the lease of a job whose stage names them by template; null for all others.
  slot_key text,
  lease text,
  -- Columns for indexes, so that no index names what the end of a plain run writes: run_at of a scheduled job, the state of a held, failed
  -- or cancelled one, the visit of an unfinished one.
  scheduled_at integer,
  note text,
  open_visit_id integer,
  check ((stop_by is null) = (blocked_by is null)),
  -- By their order: cancelled, done and failed come before all others. Two comparisons for each update of a job instead of four.
  check ((finished_at is null) = (state > 'g' and state <> 'returned')),
  check ((scheduled_at is null) = (state <> 'scheduled')),
  check (note is null or note = state)
);
insert into sqlite_sequence (name, seq) select 'new_jobs', seq from sqlite_sequence where name = 'jobs';

-- Claimable now, else absent: a claim reads this one in order, a queue at a time, and deletes what it takes.
create table ready (
  queue_id integer not null,
  priority integer not null,
  job_id integer not null,
  primary key (queue_id, priority, job_id)
) without rowid;

-- Runs that have not ended. The end of a run moves its row to runs, which is written once.
create table live (
  job_id integer primary key,
  id integer not null,
  attempt integer not null,
  state text not null references run_states (state),
  owner_epoch integer not null default 1,
  worker_id integer,
  kind text not null,
  claim_seq integer not null default 0,
  reserved_at integer not null,
  started_at integer,
  exited_at integer,
  check_at integer not null,
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
  -- Of its job: a plain settle looks at no other table.
  item_id integer,
  check (state <> 'ended')
);
create unique index live_of_run on live (id);
-- What a session holds: read when its process is dead, and to know a claim that is asked again.
create index live_of_worker on live (worker_id, claim_seq, id);
-- What the job-reaper reads: the due, never all. Beats do not touch check_at.
create index live_due on live (check_at);
create index live_holding_slots on live (slot_key) where slot_key is not null;
create index live_local on live (host_id, pid) where pid is not null;

-- Their names and their pages are used again. Few jobs are in any of these, so that they are cheap to fill row by row.
drop index jobs_finished;
drop index jobs_scheduled;
drop index jobs_blocked;
drop index jobs_paused;
drop index jobs_of_note;
drop index jobs_of_visit;
drop index jobs_one_unfinished_per_visit;
drop index jobs_of_item;
-- Delayed jobs are in a state of their own, so no claim walks them.
create index jobs_scheduled on new_jobs (scheduled_at, id) where scheduled_at is not null;
create index jobs_blocked on new_jobs (stop_by, id) where blocked_by is not null;
create index jobs_paused on new_jobs (id) where paused = 1;
-- What people look for stays cheap beside any number of successes; the rare states share one index.
create index jobs_of_note on new_jobs (note, id) where note is not null;
create index jobs_of_visit on new_jobs (visit_id) where visit_id is not null;
-- At most one unfinished job per visit, whoever asks.
create unique index jobs_one_unfinished_per_visit on new_jobs (open_visit_id) where open_visit_id is not null;
create index jobs_of_item on new_jobs (item_id) where item_id is not null;
`;

const fillReady: SlicedStep = {
  name: "jobs that may be claimed",
  slice: async (tx, { limit }) => {
    const [last] = (
      await sql<{ queue_id: number; priority: number; job_id: number }>`
        select queue_id, priority, job_id from ready order by queue_id desc, priority desc, job_id desc limit 1`.execute(tx)
    ).rows;
    const behind = last === undefined ? sql`` : sql`and (queue_id, priority, id) > (${last.queue_id}, ${last.priority}, ${last.job_id})`;
    const { numAffectedRows } = await sql`
      insert into ready (queue_id, priority, job_id)
      select queue_id, priority, id from jobs indexed by jobs_claimable
      where state = 'queued' and blocked_by is null and paused = 0 ${behind} order by queue_id, priority, id limit ${limit}`.execute(tx);
    return sliceOf(numAffectedRows);
  },
  left: async (db) => await count(db, "jobs indexed by jobs_claimable where state = 'queued' and blocked_by is null and paused = 0"),
};

const copyJobs: SlicedStep = {
  name: "jobs",
  slice: async (tx, { limit }) => {
    const { numAffectedRows } = await sql`
      insert into new_jobs (id, queue_id, state, priority, run_at, created_at, finished_at, attempts, max_attempts, losses, max_losses,
        last_loss_at, run_count, blocked_by, stop_by, paused, item_id, visit_id, agent, repo, enqueue_id, payload, output, error, slot_key,
        lease, scheduled_at, note, open_visit_id)
      select j.id, j.queue_id, case j.state when 'running' then 'queued' else j.state end, j.priority, j.run_at, j.created_at,
        j.finished_at, j.attempts - coalesce((select r.state <> 'reserved' from runs r where r.id = j.current_run_id), 0), j.max_attempts,
        j.losses, j.max_losses, j.last_loss_at, j.run_count - (j.current_run_id is not null), j.blocked_by, j.stop_by, j.paused, j.item_id,
        j.visit_id, j.agent, j.repo, j.enqueue_id, j.payload, j.output, j.error, j.slot_key, j.lease,
        case j.state when 'scheduled' then j.run_at end, case when j.state in ('held', 'failed', 'cancelled') then j.state end,
        case when j.finished_at is null then j.visit_id end
      from jobs j where j.id > (select coalesce(max(id), -9223372036854775808) from new_jobs) order by j.id limit ${limit}`.execute(tx);
    return sliceOf(numAffectedRows);
  },
  // By their ids, between which a few may be missing: to count ten million rows takes seconds.
  left: async (db) => {
    const { rows } = await sql<{ rows: number }>`
      select coalesce((select max(id) from jobs) - coalesce((select max(id) from new_jobs), (select min(id) - 1 from jobs)), 0) as rows`.execute(
      db,
    );
    return rows[0]?.rows ?? 0;
  },
};

/** After their jobs, whose attempts depend on them. */
const moveLive: SlicedStep = {
  name: "runs under way",
  slice: async (tx, { limit }) => {
    const page = sql`from runs indexed by runs_due where ended_at is null order by check_at, id limit ${limit}`;
    const { numAffectedRows } = await sql`
      insert into live (job_id, id, attempt, state, owner_epoch, worker_id, kind, claim_seq, reserved_at, started_at, exited_at, check_at,
        host_id, boot_id, pid_namespace, pid, start_time, wrapper_pid, wrapper_start_time, timeout_ms, heartbeat_timeout_ms, max_running_ms,
        suspended_ms, progress_at, progress, exit_code, gate_pending_at, slot_key, item_id)
      select r.job_id, r.id, r.attempt, r.state, r.owner_epoch, r.worker_id, r.kind, r.claim_seq, r.reserved_at, r.started_at, r.exited_at,
        coalesce(r.check_at, r.reserved_at), r.host_id, r.boot_id, r.pid_namespace, r.pid, r.start_time, r.wrapper_pid, r.wrapper_start_time,
        r.timeout_ms, r.heartbeat_timeout_ms, r.max_running_ms, r.suspended_ms, r.progress_at, r.progress, r.exit_code, r.gate_pending_at,
        r.slot_key, j.item_id
      from (select * ${page}) r cross join new_jobs j on j.id = r.job_id`.execute(tx);
    await sql`delete from runs where id in (select id ${page})`.execute(tx);
    return sliceOf(numAffectedRows);
  },
  left: async (db) => await count(db, "runs indexed by runs_due where ended_at is null"),
};

/** Each slice finds by itself where the one before it ended. */
function sliceOf(numAffectedRows: bigint | undefined): Slice {
  const moved = Number(numAffectedRows ?? 0n);
  return { after: moved === 0 ? undefined : [], moved };
}

async function count(db: Kysely<Database>, from: string): Promise<number> {
  const { rows } = await sql<{ rows: number }>`select count(*) as rows from ${sql.raw(from)}`.execute(db);
  return rows[0]?.rows ?? 0;
}

const swapJobs = `
drop index runs_of_worker;
drop index runs_due;
drop index runs_local;
drop table jobs;
alter table new_jobs rename to jobs;
`;

/** How many jobs are looked at in a turn. */
const checkedAtOnce = 20_000;

/** Jobs that refer to nothing, which no copy takes; and runs and jobs that do not name each other, of which none can be told to be under way. */
export const contradictions: ContradictionCheck = async (tx, after) => {
  const [from, to] = after === undefined ? [-1, checkedAtOnce] : [Number(after[0]), Number(after[0]) + checkedAtOnce];
  const { rows } = await sql<{ line: string }>`
    select 'job ' || id || case
        when queue_id not in (select id from queues) then ' names a row of queues that does not exist'
        when state not in (select state from job_states) then ' names a row of job_states that does not exist'
        else ' is running, and its run ' || current_run_id || ' is not' end as line
      from jobs j where id > ${from} and id <= ${to} and (queue_id not in (select id from queues)
        or state not in (select state from job_states)
        or state = 'running' and not exists (select 1 from runs r where r.id = j.current_run_id and r.job_id = j.id and r.ended_at is null))
    limit 20`.execute(tx);
  if (rows.length > 0) return { lines: rows.map(({ line }) => line), after: undefined };
  const [next] = (await sql<{ id: number }>`select id from jobs where id > ${to} order by id limit 1`.execute(tx)).rows;
  if (next !== undefined) return { lines: [], after: [next.id - 1] };
  const others = await sql<{ line: string }>`
    select 'run ' || r.id || ' has not ended, and job ' || r.job_id || ' does not know it as its own' as line
      from runs r indexed by runs_due left join jobs j on j.id = r.job_id where r.ended_at is null and (j.current_run_id is not r.id or j.attempts < (r.state <> 'reserved'))
    limit 20`.execute(tx);
  return { lines: others.rows.map(({ line }) => line), after: undefined };
};

export const readyAndLiveSteps: readonly MigrationStep[] = [
  { name: "making the new tables", text: makeTables },
  fillReady,
  copyJobs,
  moveLive,
  { name: "leaving the old table", text: swapJobs },
  // Last: filled row by row in the order of jobs, an index over ids that people made up would be written many times over.
  { name: "jobs_enqueue_id", on: "jobs (enqueue_id) where enqueue_id is not null", unique: true },
];
