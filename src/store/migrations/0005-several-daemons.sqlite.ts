import { type Kysely, sql } from "kysely";
import type { MigrationStep, SlicedStep } from "../engine/migration.ts";
import type { Database } from "../engine/tables.ts";

/** Frozen: what several daemons must know of each other (decision 0020), in steps (decision 0019). One daemon owns this engine's file; the tables are the same. */
const addColumns = `
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
  started_at integer not null,
  heard_at integer not null,
  -- Of an orderly stop; null while it runs, or died.
  ended_at integer
) without rowid;

-- The host of the daemon that hears the session. Null: the session writes to the store itself.
alter table workers add column via text;
-- The host that holds the work directory. Null: nobody knows, and any host may run the item.
alter table items add column host_id text;
-- Of its item.
alter table jobs add column host_id text;
-- Whose disk an entry is for, and who delivers it until when.
alter table outbox add column host_id text;
alter table outbox add column claimed_by text;
alter table outbox add column claimed_until integer;
alter table outbox add column claim_fence integer not null default 0;

-- What ready is for other jobs, for those that one host alone may claim.
create table ready_on_host (
  host_id text not null,
  queue_id integer not null,
  priority integer not null,
  job_id integer not null,
  primary key (host_id, queue_id, priority, job_id)
) without rowid;
`;

/** The host of the only daemon that the store has ever had, as far as its sessions tell. */
const onlyHost = "(select case when min(host_id) = max(host_id) then min(host_id) end from workers where kind = 'command')";

interface Page {
  readonly last: number | null;
  readonly moved: number;
}

const pinItems: SlicedStep = {
  name: "items of the only host",
  slice: async (tx, { after, limit }) => {
    const page = sql`from (select id from items where id > ${after?.[0] ?? 0} order by id limit ${limit})`;
    const [found] = (await sql<Page>`select max(id) as last, count(*) as moved ${page}`.execute(tx)).rows;
    await sql`update items set host_id = ${sql.raw(onlyHost)} where host_id is null and id in (select id ${page})`.execute(tx);
    return sliceOf(found);
  },
  left: async (db) => await count(db, "items"),
};

const pinJobs: SlicedStep = {
  name: "jobs of the only host",
  slice: async (tx, { after, limit }) => {
    const page = sql`from (select id, open_visit_id from jobs indexed by jobs_one_unfinished_per_visit
      where open_visit_id is not null and open_visit_id > ${after?.[0] ?? 0} order by open_visit_id limit ${limit})`;
    const [found] = (await sql<Page>`select max(open_visit_id) as last, count(*) as moved ${page}`.execute(tx)).rows;
    await sql`update jobs set host_id = (select items.host_id from items where items.id = jobs.item_id) where id in (select id ${page})`.execute(
      tx,
    );
    await sql`insert or ignore into ready_on_host (host_id, queue_id, priority, job_id)
      select j.host_id, r.queue_id, r.priority, r.job_id from (select id ${page}) p cross join jobs j on j.id = p.id
        cross join ready r on r.queue_id = j.queue_id and r.priority = j.priority and r.job_id = j.id
      where j.host_id is not null`.execute(tx);
    await sql`delete from ready where (queue_id, priority, job_id) in (
      select j.queue_id, j.priority, j.id from (select id ${page}) p cross join jobs j on j.id = p.id where j.host_id is not null)`.execute(
      tx,
    );
    return sliceOf(found);
  },
  left: async (db) => await count(db, "jobs where open_visit_id is not null"),
};

const sliceOf = ({ last, moved }: Page = { last: null, moved: 0 }) => ({ after: last === null ? undefined : [last], moved });

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
    text: "update outbox set host_id = (select items.host_id from items where items.id = cast(outbox.key as integer)) where kind = 'state-file';",
  },
  { name: "items_of_host", on: "items (host_id, id)" },
  { name: "outbox_due_of_host", on: "outbox (host_id, due_at, id) where due_at is not null" },
  { name: "outbox_claimed", on: "outbox (claimed_by) where claimed_by is not null" },
  { name: "leaving the index of all deliveries", text: "drop index outbox_due;" },
];
