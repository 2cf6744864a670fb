import { type Kysely, sql } from "kysely";
import type { MigrationStep, SlicedStep } from "../engine/migration.ts";
import type { Database } from "../engine/tables.ts";

/** What a program of schema 4 must write no more: it would claim pinned jobs, and what it claims here it could not settle. */
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
  "live",
  "ready",
  "jobs",
] as const;

const closing = (table: string): string => `drop trigger if exists refuse_older_program on ${table};
create trigger refuse_older_program before insert or update or delete on ${table}
  for each statement when (current_setting('wakeful.schema', true) is distinct from '5') execute function refuse_older_program();`;

/** Frozen: what several daemons must know of each other (decision 0020), in steps (decision 0019). */
const addColumns = `
lock table ${[...closedTables.filter((table) => table !== "jobs"), "outbox"].join(", ")}, jobs in access exclusive mode;

create or replace function refuse_older_program() returns trigger language plpgsql as $$
begin
  raise exception 'the store has schema 5, which this program does not know: stop it and install the newer version' using errcode = '57W01';
end $$;
${closedTables.map(closing).join("\n")}

-- One row for each data directory: the daemon that serves it, or served it last.
create table daemons (
  host_id text primary key,
  boot_id text not null,
  pid_namespace text not null,
  pid integer not null,
  start_time text not null,
  -- Where it is, for people: the machine's name and the data directory.
  place text not null,
  url text,
  version text not null,
  started_at bigint not null,
  heard_at bigint not null,
  -- Of an orderly stop; null while it runs, or died.
  ended_at bigint
);

-- The host of the daemon that hears the session. Null: the session writes to the store itself.
alter table workers add column via text;
-- The host that holds the work directory. Null: nobody knows, and any host may run the item.
alter table items add column host_id text;
-- Of its item.
alter table jobs add column host_id text;
-- Whose disk an entry is for, and who delivers it until when.
alter table outbox add column host_id text, add column claimed_by text, add column claimed_until bigint,
  add column claim_fence integer not null default 0;

-- What ready is for other jobs, for those that one host alone may claim.
create table ready_on_host (
  host_id text not null,
  queue_id bigint not null,
  priority integer not null,
  job_id bigint not null,
  primary key (host_id, queue_id, priority, job_id)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0, vacuum_truncate = false);
`;

/** The host of the only daemon that the store has ever had, as far as its sessions tell. */
const onlyHost = "(select case when min(host_id) = max(host_id) then min(host_id) end from workers where kind = 'command')";

const pinItems: SlicedStep = {
  name: "items of the only host",
  slice: async (tx, { after, limit }) => {
    const { rows } = await sql<{ last: number | null; moved: number }>`
      with page as materialized (select id from items where id > ${after?.[0] ?? 0} order by id limit ${limit}), pinned as (
        update items set host_id = ${sql.raw(onlyHost)} from page where items.id = page.id and items.host_id is null
      ) select max(id) as last, count(*) as moved from page`.execute(tx);
    const { last, moved } = rows[0] ?? { last: null, moved: 0 };
    return { after: last === null ? undefined : [last], moved };
  },
  left: async (db) => await count(db, "items"),
};

const pinJobs: SlicedStep = {
  name: "jobs of the only host",
  slice: async (tx, { after, limit }) => {
    const { rows } = await sql<{ last: number | null; moved: number }>`
      with page as materialized (
        select id, open_visit_id from jobs where open_visit_id is not null and open_visit_id > ${after?.[0] ?? 0} order by open_visit_id limit ${limit}
      ), pinned as (
        update jobs set host_id = items.host_id from page, items
        where jobs.id = page.id and items.id = jobs.item_id and items.host_id is not null
        returning jobs.id, jobs.queue_id, jobs.priority, jobs.host_id
      ), taken as (
        delete from ready using pinned
        where ready.queue_id = pinned.queue_id and ready.priority = pinned.priority and ready.job_id = pinned.id
        returning pinned.host_id, ready.queue_id, ready.priority, ready.job_id
      ), put as (
        insert into ready_on_host (host_id, queue_id, priority, job_id) select host_id, queue_id, priority, job_id from taken on conflict do nothing
      ) select max(open_visit_id) as last, count(*) as moved from page`.execute(tx);
    const { last, moved } = rows[0] ?? { last: null, moved: 0 };
    return { after: last === null ? undefined : [last], moved };
  },
  left: async (db) => await count(db, "jobs where open_visit_id is not null"),
};

async function count(db: Kysely<Database>, from: string): Promise<number> {
  const { rows } = await sql<{ rows: number }>`select count(*) as rows from ${sql.raw(from)}`.execute(db);
  return rows[0]?.rows ?? 0;
}

export const severalDaemonsSteps: readonly MigrationStep[] = [
  { name: "making room for several daemons", text: addColumns },
  pinItems,
  pinJobs,
  {
    name: "state files of the only host",
    text: "update outbox set host_id = (select items.host_id from items where items.id = outbox.key::bigint) where kind = 'state-file';",
  },
  { name: "items_of_host", on: "items (host_id, id)" },
  { name: "outbox_due_of_host", on: "outbox (host_id, due_at, id) where due_at is not null" },
  { name: "outbox_claimed", on: "outbox (claimed_by) where claimed_by is not null" },
  { name: "leaving the index of all deliveries", text: "drop index outbox_due;" },
];
