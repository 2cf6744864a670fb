import { type Kysely, sql } from "kysely";
import type { ContradictionCheck, MigrationStep, SlicedStep } from "../engine/migration.ts";
import type { Database } from "../engine/tables.ts";

/**
 * By dead rows and not by their share: beside a million waiting jobs a fifth of them would lie before those that are claimed next. At full
 * speed: the tables are small. Giving pages back would stop all claims.
 */
const emptiedAllTheTime = ` with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0,
  vacuum_truncate = false)`;

/** Asked by the trigger itself: a call of its function with each statement made a settle of ten jobs 7 % dearer. */
const ofOlderProgram = "when (current_setting('wakeful.schema', true) is distinct from '4')";

/**
 * What no older program writes any more: it would take runs under way for lost, and slots for free. Left to it are records of what it does,
 * and the outbox, from which it would else deliver for ever.
 */
const closedTables = [
  "items",
  "visits",
  "workers",
  "leases",
  "lease_waiters",
  "slots",
  "queues",
  "pipeline_versions",
  "duplicates",
  "runs",
  "jobs",
] as const;

const closing = (table: string): string => `create trigger refuse_older_program before insert or update or delete on ${table}
  for each statement ${ofOlderProgram} execute function refuse_older_program();`;

/** Frozen: what a store of the earlier shape becomes (decision 0018), in steps (decision 0019). */
const cutOff = `
-- The weaker locks first: while the last one is waited for, others may read.
lock table ${closedTables.filter((table) => table !== "jobs").join(", ")} in share row exclusive mode;
lock table jobs in access exclusive mode;

-- Every connection says which schema its program knows. The code is of the class that programs wait for and try again.
create function refuse_older_program() returns trigger language plpgsql as $$
begin
  raise exception 'the store has schema 4, which this program does not know: stop it and install the newer version' using errcode = '57W01';
end $$;
${closedTables.map(closing).join("\n")}

-- Columns for indexes, so that no index names what the end of a plain run writes: run_at of a scheduled job, the state of a held, failed
-- or cancelled one, the visit of an unfinished one.
alter table jobs add column scheduled_at bigint, add column note text, add column open_visit_id bigint;
-- Nothing updates a row of history but the release of a slot. A job's row is changed once, at its end, and grows by that: of pages that
-- were half full one change in twenty went to another page.
alter table runs reset (fillfactor);
alter table jobs set (fillfactor = 49);

-- Claimable now, else absent: a claim reads this one in order, a queue at a time, and deletes what it takes.
create table ready (
  queue_id bigint not null,
  priority integer not null,
  job_id bigint not null,
  primary key (queue_id, priority, job_id)
)${emptiedAllTheTime};

-- Runs that have not ended. The end of a run moves its row to runs, which is written once.
create table live (
  job_id bigint primary key,
  id bigint not null,
  attempt integer not null,
  state text not null check (state in ('reserved', 'started', 'exited')),
  owner_epoch integer not null default 1,
  worker_id bigint,
  kind text not null,
  claim_seq bigint not null default 0,
  reserved_at bigint not null,
  started_at bigint,
  exited_at bigint,
  check_at bigint not null,
  host_id text,
  boot_id text,
  pid_namespace text,
  pid integer,
  start_time text,
  wrapper_pid integer,
  wrapper_start_time text,
  timeout_ms bigint,
  heartbeat_timeout_ms bigint,
  max_running_ms bigint,
  suspended_ms bigint not null default 0,
  progress_at bigint,
  progress text,
  exit_code integer,
  gate_pending_at bigint,
  slot_key text,
  -- Of its job: a plain settle looks at no other table.
  item_id bigint
)${emptiedAllTheTime};
create unique index live_of_run on live (id);
-- What a session holds: read when its process is dead, and to know a claim that is asked again.
create index live_of_worker on live (worker_id, claim_seq);
-- What the job-reaper reads: the due, never all. Beats do not touch check_at.
create index live_due on live (check_at);
create index live_holding_slots on live (slot_key) where slot_key is not null;
create index live_local on live (host_id, pid) where pid is not null;
`;

/** Jobs by the key of an index that the earlier shape has for them. `write` does what is to be done to the rows of `page`. */
function overJobs(options: {
  readonly name: string;
  readonly where: string;
  readonly key: readonly KeyColumn[];
  readonly write: string;
}): SlicedStep {
  const { name, where, key, write } = options;
  const from = `jobs where ${where}`;
  const columns = key.join(", ");
  return {
    name,
    slice: async (tx, { after, limit }) => {
      const behind = after === undefined ? sql`` : sql`and (${sql.raw(columns)}) > (${sql.join(after.map((value) => sql.val(value)))})`;
      const { rows } = await sql<PageRow>`
        with page as materialized (
          select id, queue_id, priority, run_at, state, visit_id from ${sql.raw(from)} ${behind} order by ${sql.raw(columns)} limit ${limit}
        ), written as (${sql.raw(write)})
        select *, (select count(*) from page) as moved from page order by ${sql.raw(key.map((column) => `${column} desc`).join(", "))} limit 1`.execute(
        tx,
      );
      const [last] = rows;
      return last === undefined ? { after: undefined, moved: 0 } : { after: key.map((column) => last[column]), moved: last.moved };
    },
    left: async (db) => await count(db, from),
  };
}

type KeyColumn = "id" | "queue_id" | "priority" | "run_at" | "state" | "visit_id";
type PageRow = Readonly<Record<Exclude<KeyColumn, "state">, number>> & { readonly state: string; readonly moved: number };

async function count(db: Kysely<Database>, from: string): Promise<number> {
  const { rows } = await sql<{ rows: number }>`select count(*) as rows from ${sql.raw(from)}`.execute(db);
  return rows[0]?.rows ?? 0;
}

/** Before a running job becomes a queued one, which it then stays while its run lives. */
const fillReady = overJobs({
  name: "jobs that may be claimed",
  where: "state = 'queued' and blocked_by is null and paused is false",
  key: ["queue_id", "priority", "id"],
  write: "insert into ready (queue_id, priority, job_id) select queue_id, priority, id from page on conflict do nothing",
});

const noteScheduled = overJobs({
  name: "scheduled jobs",
  where: "state = 'scheduled'",
  key: ["run_at", "id"],
  write: "update jobs set scheduled_at = page.run_at from page where jobs.id = page.id",
});

const noteRare = overJobs({
  name: "held, failed and cancelled jobs",
  where: "state in ('held', 'failed', 'cancelled')",
  key: ["state", "id"],
  write: "update jobs set note = page.state from page where jobs.id = page.id",
});

const noteOpenVisits = overJobs({
  name: "jobs of open visits",
  where: "visit_id is not null and finished_at is null",
  key: ["visit_id"],
  write: "update jobs set open_visit_id = page.visit_id from page where jobs.id = page.id",
});

/** A run and its job together: attempts and the count of runs of a job are those of ended ones from then on. */
const moveLive: SlicedStep = {
  name: "runs under way",
  slice: async (tx, { limit }) => {
    const { rows } = await sql<{ moved: number }>`
      with moved as (
        delete from runs where id = any(array(select id from runs where ended_at is null order by check_at limit ${limit})) returning *
      ), jobs_of as (
        update jobs set state = 'queued', current_run_id = null, current_epoch = null, run_count = jobs.run_count - 1,
          attempts = jobs.attempts - (moved.state <> 'reserved')::integer
        from moved where jobs.id = moved.job_id
      ), put as (
        insert into live (job_id, id, attempt, state, owner_epoch, worker_id, kind, claim_seq, reserved_at, started_at, exited_at, check_at,
          host_id, boot_id, pid_namespace, pid, start_time, wrapper_pid, wrapper_start_time, timeout_ms, heartbeat_timeout_ms,
          max_running_ms, suspended_ms, progress_at, progress, exit_code, gate_pending_at, slot_key, item_id)
        select r.job_id, r.id, r.attempt, r.state, r.owner_epoch, r.worker_id, r.kind, r.claim_seq, r.reserved_at, r.started_at, r.exited_at,
          coalesce(r.check_at, r.reserved_at), r.host_id, r.boot_id, r.pid_namespace, r.pid, r.start_time, r.wrapper_pid,
          r.wrapper_start_time, r.timeout_ms, r.heartbeat_timeout_ms, r.max_running_ms, r.suspended_ms, r.progress_at, r.progress,
          r.exit_code, r.gate_pending_at, r.slot_key, (select j.item_id from jobs j where j.id = r.job_id)
        from moved r)
      select count(*) as moved from moved`.execute(tx);
    const moved = rows[0]?.moved ?? 0;
    // What was moved is no longer found from the beginning.
    return { after: moved === 0 ? undefined : [], moved };
  },
  left: async (db) => await count(db, "runs where ended_at is null"),
};

const dropOldShape = `
lock table runs, jobs in access exclusive mode;
drop index runs_of_worker;
drop index runs_due;
drop index runs_local;
drop index jobs_claimable;
drop index jobs_finished;
-- What a job is between its runs: while one lives it stays queued, and live has the run. Attempts are what ended runs have spent.
alter table jobs drop column current_run_id, drop column current_epoch,
  drop constraint jobs_attempts_check, drop constraint jobs_max_attempts_check, drop constraint jobs_losses_check;
-- Each statement reads each check anew, 2 to 7 us of it: states, outcomes and what goes with them stay. The columns for indexes are compared
-- by checkInvariants.
alter table runs drop constraint runs_state_check, drop constraint runs_check, drop constraint runs_check1, drop constraint runs_spent_check,
  add constraint runs_state_check check (state = 'ended') not valid;
`;

const swapIndexes = `
lock table jobs in access exclusive mode;
drop index jobs_scheduled;
alter index new_jobs_scheduled rename to jobs_scheduled;
drop index jobs_of_note;
alter index new_jobs_of_note rename to jobs_of_note;
drop index jobs_one_unfinished_per_visit;
alter index new_jobs_one_unfinished_per_visit rename to jobs_one_unfinished_per_visit;
`;

/** Runs and jobs that do not name each other: none of both can be told to be under way. */
export const contradictions: ContradictionCheck = async (tx) => {
  const { rows } = await sql<{ line: string }>`
    select 'run ' || r.id || ' has not ended, and job ' || r.job_id || ' does not know it as its own' as line
      from runs r left join jobs j on j.id = r.job_id where r.ended_at is null
        and (j.current_run_id is distinct from r.id or j.attempts < (r.state <> 'reserved')::integer)
    union all
    select 'job ' || j.id || ' is running, and its run ' || j.current_run_id || ' is not' from jobs j
      where j.state = 'running' and not exists (select 1 from runs r where r.id = j.current_run_id and r.job_id = j.id and r.ended_at is null)
    limit 20`.execute(tx);
  return { lines: rows.map(({ line }) => line), after: undefined };
};

export const readyAndLiveSteps: readonly MigrationStep[] = [
  { name: "making the new tables", text: cutOff },
  fillReady,
  moveLive,
  noteScheduled,
  noteRare,
  noteOpenVisits,
  { name: "leaving the old shape", text: dropOldShape },
  { name: "checking all runs", text: "alter table runs validate constraint runs_state_check;" },
  // Delayed jobs are in a state of their own, so no claim walks them.
  { name: "new_jobs_scheduled", on: "jobs (scheduled_at, id) where scheduled_at is not null" },
  // What people look for stays cheap beside any number of successes; the rare states share one index.
  { name: "new_jobs_of_note", on: "jobs (note, id) where note is not null" },
  // At most one unfinished job per visit, whoever asks.
  { name: "new_jobs_one_unfinished_per_visit", on: "jobs (open_visit_id) where open_visit_id is not null", unique: true },
  { name: "taking the new indexes", text: swapIndexes },
];
