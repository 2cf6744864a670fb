/**
 * Like the server engine's; a CHECK of this engine cannot be altered, so three tables are made anew, and keep their ids (decision 0016).
 * Stores in use have had jobs made anew here too (decision 0019).
 */
export const openKinds = `
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

-- The slot and the lease of a job whose stage names them by template; null for all others. The next migration makes this table anew anyway.
alter table jobs add column slot_key text;
alter table jobs add column lease text;

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
