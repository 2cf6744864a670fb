/** Frozen text: what a store of the earlier shape becomes. See decision 0018. */
export const readyAndLive = `
-- Claimable now, else absent: a claim reads this one in order, a queue at a time, and deletes what it takes.
create table ready (
  queue_id bigint not null,
  priority integer not null,
  job_id bigint not null,
  primary key (queue_id, priority, job_id)
);
insert into ready (queue_id, priority, job_id)
  select queue_id, priority, id from jobs where state = 'queued' and blocked_by is null and paused is false;

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
);
insert into live (job_id, id, attempt, state, owner_epoch, worker_id, kind, claim_seq, reserved_at, started_at, exited_at, check_at,
    host_id, boot_id, pid_namespace, pid, start_time, wrapper_pid, wrapper_start_time, timeout_ms, heartbeat_timeout_ms, max_running_ms,
    suspended_ms, progress_at, progress, exit_code, gate_pending_at, slot_key, item_id)
  select r.job_id, r.id, r.attempt, r.state, r.owner_epoch, r.worker_id, r.kind, r.claim_seq, r.reserved_at, r.started_at, r.exited_at,
    coalesce(r.check_at, r.reserved_at), r.host_id, r.boot_id, r.pid_namespace, r.pid, r.start_time, r.wrapper_pid, r.wrapper_start_time,
    r.timeout_ms, r.heartbeat_timeout_ms, r.max_running_ms, r.suspended_ms, r.progress_at, r.progress, r.exit_code, r.gate_pending_at,
    r.slot_key, j.item_id
  from runs r join jobs j on j.id = r.job_id where r.ended_at is null;
create unique index live_of_run on live (id);
-- What a session holds: read when its process is dead, and to know a claim that is asked again.
create index live_of_worker on live (worker_id, claim_seq, id);
-- What the job-reaper reads: the due, never all. Beats do not touch check_at.
create index live_due on live (check_at);
create index live_holding_slots on live (slot_key) where slot_key is not null;
create index live_local on live (host_id, pid) where pid is not null;

-- Columns for indexes, so that no index names what the end of a plain run writes: run_at of a scheduled job, the state of a held, failed
-- or cancelled one, the visit of an unfinished one.
alter table jobs add column scheduled_at bigint, add column note text, add column open_visit_id bigint;
update jobs set scheduled_at = run_at where state = 'scheduled';
update jobs set note = state where state in ('held', 'failed', 'cancelled');
update jobs set open_visit_id = visit_id where visit_id is not null and finished_at is null;
-- What a job is between its runs: while one lives it stays queued, and live has the run. Attempts are what ended runs have spent.
alter table jobs drop column current_run_id, drop column current_epoch;
update jobs set state = 'queued', run_count = run_count - 1,
    attempts = attempts - (select (l.state <> 'reserved')::integer from live l where l.job_id = jobs.id)
  where state = 'running';
delete from runs where ended_at is null;

drop index jobs_claimable;
drop index jobs_finished;
drop index jobs_scheduled;
drop index jobs_of_note;
drop index jobs_one_unfinished_per_visit;
drop index runs_of_worker;
drop index runs_due;
drop index runs_local;
-- Delayed jobs are in a state of their own, so no claim walks them.
create index jobs_scheduled on jobs (scheduled_at, id) where scheduled_at is not null;
-- What people look for stays cheap beside any number of successes; the rare states share one index.
create index jobs_of_note on jobs (note, id) where note is not null;
-- At most one unfinished job per visit, whoever asks.
create unique index jobs_one_unfinished_per_visit on jobs (open_visit_id) where open_visit_id is not null;
alter table jobs add constraint jobs_scheduled_check check ((scheduled_at is null) = (state <> 'scheduled')),
  add constraint jobs_note_check check (note is null or note = state);
-- Nothing updates a row of history but the release of a slot.
alter table runs reset (fillfactor);
`;
