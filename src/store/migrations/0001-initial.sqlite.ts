/** Frozen text: a released migration is never edited; a change is a new file. */
export const initial = `
create table meta (
  name text primary key,
  value text not null
) without rowid;

-- A CHECK cannot be altered on this engine, so the states are rows that later migrations may add to.
create table job_states (state text primary key) without rowid;
insert into job_states (state) values ('scheduled'), ('queued'), ('running'), ('done'), ('failed'), ('held'), ('cancelled');
create table run_states (state text primary key) without rowid;
insert into run_states (state) values ('reserved'), ('started'), ('exited'), ('ended');
create table item_states (state text primary key) without rowid;
insert into item_states (state) values ('active'), ('paused'), ('done'), ('failed'), ('cancelled');
create table visit_states (state text primary key) without rowid;
insert into visit_states (state) values ('open'), ('passed'), ('returned'), ('failed');
create table worker_states (state text primary key) without rowid;
insert into worker_states (state) values ('live'), ('draining'), ('stopped'), ('dead');
create table lease_states (state text primary key) without rowid;
insert into lease_states (state) values ('free'), ('held');
create table run_outcomes (state text primary key) without rowid;
insert into run_outcomes (state) values ('succeeded'), ('failed'), ('gate_red'), ('hung'), ('timed_out'), ('lost'), ('cancelled'), ('released'), ('never_started');

create table queues (
  id integer primary key autoincrement,
  name text not null unique,
  kind text not null check (kind in ('command', 'handler')),
  slot_key text,
  paused integer not null default 0
);

create table slots (
  key text primary key,
  capacity integer not null check (capacity >= 1),
  used integer not null default 0 check (used >= 0)
) without rowid;

create table pipeline_versions (
  id integer primary key autoincrement,
  pipeline text not null,
  hash text not null,
  definition text not null,
  put_at integer not null,
  current integer not null,
  unique (pipeline, hash)
);
create unique index pipeline_versions_current on pipeline_versions (pipeline) where current = 1;

create table items (
  id integer primary key autoincrement,
  pipeline text not null,
  pipeline_version text not null,
  key text not null,
  dir text not null unique,
  state text not null references item_states (state),
  stage text not null,
  visit_id integer,
  visit_count integer not null default 1,
  input text not null,
  label text,
  repo text,
  branch text,
  error text,
  created_at integer not null,
  updated_at integer not null,
  finished_at integer,
  unique (pipeline, key),
  check ((finished_at is null) = (state in ('active', 'paused')))
);
-- The reconciler and lists of unfinished items walk this one; finished items leave it.
create index items_unfinished on items (id) where state in ('active', 'paused');
create index items_finished on items (finished_at) where finished_at is not null;

create table visits (
  id integer primary key autoincrement,
  item_id integer not null references items (id) on delete cascade,
  stage text not null,
  number integer not null,
  state text not null references visit_states (state),
  counts integer not null default 1,
  attempts integer not null default 0 check (attempts >= 0),
  max_attempts integer not null check (max_attempts >= 1),
  losses integer not null default 0 check (losses >= 0),
  max_losses integer,
  last_loss_at integer,
  opened_at integer not null,
  closed_at integer,
  output text,
  unique (item_id, number),
  check ((closed_at is null) = (state = 'open'))
);

create table jobs (
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
  check ((current_run_id is null) = (state <> 'running')),
  check ((current_epoch is null) = (current_run_id is null)),
  check ((stop_by is null) = (blocked_by is null)),
  -- Compared one by one: a list of three is looked up in a table that is made for it, which cost the hot path a third.
  check ((finished_at is null) = (state <> 'done' and state <> 'failed' and state <> 'cancelled'))
);
-- A claim reads this one in order, a queue at a time. Delayed jobs are in a state of their own, so no claim walks them.
create index jobs_claimable on jobs (queue_id, priority, id) where state = 'queued' and blocked_by is null and paused = 0;
create index jobs_scheduled on jobs (run_at, id) where state = 'scheduled';
create index jobs_blocked on jobs (stop_by, id) where blocked_by is not null;
create index jobs_paused on jobs (id) where paused = 1;
create index jobs_finished on jobs (finished_at) where finished_at is not null;
-- What people look for stays cheap beside any number of successes. Each index on the state costs every job three looks at its condition
-- (one with a long condition took a sixth of the hot path), so the rare states share one.
create index jobs_of_note on jobs (state, id) where state = 'held' or state = 'failed' or state = 'cancelled';
create index jobs_of_visit on jobs (visit_id) where visit_id is not null;
-- At most one unfinished job per visit, whoever asks.
create unique index jobs_one_unfinished_per_visit on jobs (visit_id) where visit_id is not null and finished_at is null;
create index jobs_of_item on jobs (item_id) where item_id is not null;
create unique index jobs_enqueue_id on jobs (enqueue_id) where enqueue_id is not null;

create table workers (
  id integer primary key autoincrement,
  name text not null,
  kind text not null check (kind in ('command', 'handler', 'run')),
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
create index workers_alive on workers (id) where state in ('live', 'draining');

-- Run ids carry the store epoch in their high part and are given by the claim, never by the table.
create table runs (
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
  max_running_ms integer not null,
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
create unique index runs_of_job on runs (job_id, attempt);
-- What a session holds: read when its process is dead, and to know a claim that is asked again.
create index runs_of_worker on runs (worker_id, claim_seq, id) where ended_at is null;
-- What the job-reaper reads: the due, never all. Beats do not touch check_at.
create index runs_due on runs (check_at) where ended_at is null;
create index runs_holding_slots on runs (slot_key) where slot_key is not null;
create index runs_local on runs (host_id, pid) where ended_at is null and pid is not null;

create table leases (
  name text primary key,
  state text not null references lease_states (state),
  holder_run_id integer,
  holder_host_id text,
  holder_boot_id text,
  holder_pid_namespace text,
  holder_pid integer,
  holder_start_time text,
  ticket text,
  fencing integer not null,
  ttl_ms integer not null,
  max_hold_ms integer not null,
  granted_at integer,
  expires_at integer,
  alerted_at integer,
  check ((state = 'held') = (granted_at is not null)),
  check (state = 'free' or holder_run_id is not null or holder_pid is not null)
) without rowid;
create index leases_held on leases (name) where state = 'held';

create table lease_waiters (
  id integer primary key autoincrement,
  name text not null,
  ticket text not null unique,
  holder_run_id integer,
  holder_host_id text,
  holder_boot_id text,
  holder_pid_namespace text,
  holder_pid integer,
  holder_start_time text,
  ttl_ms integer not null,
  max_hold_ms integer not null,
  asked_at integer not null,
  timeout_at integer not null
);
create index lease_waiters_in_line on lease_waiters (name, id);

create table action_logs (
  id integer primary key autoincrement,
  at integer not null,
  action text not null,
  actor text not null,
  reason text,
  message text,
  evidence text,
  job_id integer,
  run_id integer,
  item_id integer,
  worker_id integer,
  lease text,
  correlation_id text
);
create index action_logs_of_job on action_logs (job_id, id) where job_id is not null;
create index action_logs_of_run on action_logs (run_id, id) where run_id is not null;
create index action_logs_of_item on action_logs (item_id, id) where item_id is not null;
create index action_logs_of_worker on action_logs (worker_id, id) where worker_id is not null;
create index action_logs_of_lease on action_logs (lease, id) where lease is not null;
create index action_logs_at on action_logs (at);

create table outbox (
  id integer primary key autoincrement,
  kind text not null check (kind in ('state-file', 'alert')),
  key text not null,
  payload text not null,
  revision integer not null default 1,
  attempts integer not null default 0,
  due_at integer,
  created_at integer not null,
  last_error text,
  unique (kind, key)
);
-- Dead letters have no due time.
create index outbox_due on outbox (due_at, id) where due_at is not null;

create table duplicates (
  id integer primary key autoincrement,
  pipeline text not null,
  key text not null,
  existing_item_id integer not null,
  file_name text not null,
  path text not null unique,
  size_bytes integer not null,
  detected_at integer not null,
  decision text check (decision in ('use_existing', 'discard', 'reprocess')),
  decided_at integer,
  done_at integer
);
create index duplicates_decided on duplicates (id) where decision is not null and done_at is null;

create table hosts (
  host_id text primary key,
  boot_id text not null,
  seen_at integer not null
) without rowid;
`;
