import type { Migration } from "../../src/store/engine/migration.ts";
import { initial } from "../../src/store/migrations/0001-initial.sqlite.ts";

const ownLimits = `
alter table runs add column own_max_running_ms integer;
update runs set own_max_running_ms = max_running_ms;
alter table runs drop column max_running_ms;
alter table runs rename column own_max_running_ms to max_running_ms;
create index duplicates_done on duplicates (done_at, id) where done_at is not null;
-- Who watches sessions reads those that ended of late, not all that ever did.
create index workers_ended on workers (ended_at, id) where ended_at is not null;
`;

const openKinds = `
insert into job_states (state) values ('returned');

create table new_queues (
  id integer primary key autoincrement,
  name text not null unique,
  kind text not null,
  slot_key text,
  paused integer not null default 0
);
-- Ids go on above the last that was ever given, not above the last that retention has left.
insert into sqlite_sequence (name, seq) select 'new_queues', seq from sqlite_sequence where name = 'queues';
insert into new_queues (id, name, kind, slot_key, paused) select id, name, kind, slot_key, paused from queues order by id;
drop table queues;
alter table new_queues rename to queues;

create table new_jobs (
  id integer primary key autoincrement,
  queue_id integer not null references queues (id),
  state text not null references job_states (state),
  priority integer not null default 0,
  run_at integer not null,
  created_at integer not null,
  finished_at integer,
  attempts integer not null default 0 check (attempts >= 0),
  max_attempts integer not null default 2 check (max_attempts >= 1),
  losses integer not null default 0 check (losses >= 0),
  max_losses integer,
  last_loss_at integer,
  run_count integer not null default 0,
  -- Both null outside running: the fence that a settle names, which therefore implies no index predicate.
  current_run_id integer,
  current_epoch integer,
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
  check ((current_run_id is null) = (state <> 'running')),
  check ((current_epoch is null) = (current_run_id is null)),
  check ((stop_by is null) = (blocked_by is null)),
  -- By their order: cancelled, done and failed come before all others. Two comparisons for each update of a job instead of four; a list is
  -- looked up in a table that is made for it, which cost the hot path a third.
  check ((finished_at is null) = (state > 'g' and state <> 'returned'))
);
insert into sqlite_sequence (name, seq) select 'new_jobs', seq from sqlite_sequence where name = 'jobs';
insert into new_jobs (id, queue_id, state, priority, run_at, created_at, finished_at, attempts, max_attempts, losses, max_losses, last_loss_at,
    run_count, current_run_id, current_epoch, blocked_by, stop_by, paused, item_id, visit_id, agent, repo, enqueue_id, payload, output, error)
  select id, queue_id, state, priority, run_at, created_at, finished_at, attempts, max_attempts, losses, max_losses, last_loss_at,
    run_count, current_run_id, current_epoch, blocked_by, stop_by, paused, item_id, visit_id, agent, repo, enqueue_id, payload, output, error
  from jobs order by id;
drop table jobs;
alter table new_jobs rename to jobs;
-- A claim reads this one in order, a queue at a time. Delayed jobs are in a state of their own, so no claim walks them.
create index jobs_claimable on jobs (queue_id, priority, id) where state = 'queued' and blocked_by is null and paused = 0;
create index jobs_scheduled on jobs (run_at, id) where state = 'scheduled';
create index jobs_blocked on jobs (stop_by, id) where blocked_by is not null;
create index jobs_paused on jobs (id) where paused = 1;
create index jobs_finished on jobs (finished_at) where finished_at is not null;
-- What people look for stays cheap beside any number of successes; the rare states share one index.
create index jobs_of_note on jobs (state, id) where state = 'held' or state = 'failed' or state = 'cancelled';
create index jobs_of_visit on jobs (visit_id) where visit_id is not null;
-- At most one unfinished job per visit, whoever asks.
create unique index jobs_one_unfinished_per_visit on jobs (visit_id) where visit_id is not null and finished_at is null;
create index jobs_of_item on jobs (item_id) where item_id is not null;
create unique index jobs_enqueue_id on jobs (enqueue_id) where enqueue_id is not null;

create table new_workers (
  id integer primary key autoincrement,
  name text not null,
  kind text not null,
  state text not null references worker_states (state),
  host_id text not null,
  boot_id text not null,
  pid_namespace text not null,
  pid integer not null,
  start_time text not null,
  concurrency integer not null,
  queues text not null,
  registered_at integer not null,
  last_heard_at integer not null,
  ended_at integer,
  claim_seq_received integer not null default 0,
  loop_lag_ms real
);
insert into sqlite_sequence (name, seq) select 'new_workers', seq from sqlite_sequence where name = 'workers';
insert into new_workers (id, name, kind, state, host_id, boot_id, pid_namespace, pid, start_time, concurrency, queues, registered_at,
    last_heard_at, ended_at, claim_seq_received, loop_lag_ms)
  select id, name, kind, state, host_id, boot_id, pid_namespace, pid, start_time, concurrency, queues, registered_at,
    last_heard_at, ended_at, claim_seq_received, loop_lag_ms
  from workers order by id;
drop table workers;
alter table new_workers rename to workers;
create index workers_alive on workers (id) where state in ('live', 'draining');
-- Who watches sessions reads those that ended of late, not all that ever did.
create index workers_ended on workers (ended_at, id) where ended_at is not null;

create table new_outbox (
  id integer primary key autoincrement,
  kind text not null,
  key text not null,
  payload text not null,
  revision integer not null default 1,
  attempts integer not null default 0,
  due_at integer,
  created_at integer not null,
  last_error text,
  unique (kind, key)
);
insert into sqlite_sequence (name, seq) select 'new_outbox', seq from sqlite_sequence where name = 'outbox';
insert into new_outbox (id, kind, key, payload, revision, attempts, due_at, created_at, last_error)
  select id, kind, key, payload, revision, attempts, due_at, created_at, last_error from outbox order by id;
drop table outbox;
alter table new_outbox rename to outbox;
-- Dead letters have no due time.
create index outbox_due on outbox (due_at, id) where due_at is not null;

alter table items add column priority integer not null default 0;
`;

/**
 * The first changes of the embedded schema as they were first written, each one transaction. Stores in use have had them so; today's texts
 * bring a store of version 1 along in slices, and order columns otherwise.
 */
export const firstSqliteMigrations: readonly Migration[] = [
  { number: 1, name: "initial", text: initial },
  { number: 2, name: "own limits", text: ownLimits },
  { number: 3, name: "open kinds", text: openKinds, rebuilds: true },
];
