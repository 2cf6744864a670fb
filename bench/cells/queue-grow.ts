/** Fills a store with finished jobs: a thousand are worked off, then their rows are copied by SQL as often as is asked for. */
import { dirname, join } from "node:path";
import { DatabaseSync } from "@photostructure/sqlite";
import { isServer, withServer } from "../queue/ask-store.ts";
import { type Columns, copyStatements, type Spread } from "../queue/copied-history.ts";
import { drain, enqueueInBatches, whileBusy } from "../queue/wakeful-queue.ts";
import { answer, question } from "./answer.ts";

const { finished, store, dataDir = join(dirname(store), "data") } = question() as { finished: number; store: string; dataDir?: string };
const first = 1000;
const spreadStatement = `select (select min(id) from jobs) as "jobFrom", (select max(id) - min(id) + 1 from jobs) as "jobs",
  (select min(id) from runs) as "runFrom", (select max(id) - min(id) + 1 from runs) as "runs"`;

const where = { store, dataDir };
await whileBusy(where, (embedded) => enqueueInBatches(embedded, first));
await drain({ ...where, jobs: first, concurrency: 10, outstandingMax: 200 });
const began = performance.now();
if (isServer(store)) await growServer();
else growFile();
answer({ seconds: (performance.now() - began) / 1000 });

async function growServer(): Promise<void> {
  await withServer(store, async (client) => {
    const columnsOf = async (table: string): Promise<readonly string[]> => {
      const { rows } = await client.query<{ name: string }>(
        "select column_name as name from information_schema.columns where table_schema = 'wakeful' and table_name = $1",
        [table],
      );
      return rows.map(({ name }) => name);
    };
    const columns: Columns = { jobs: await columnsOf("jobs"), runs: await columnsOf("runs") };
    const { rows } = await client.query<Record<keyof Spread, string>>(spreadStatement);
    const series = (from: number, to: number): string => `(select generate_series(${from}, ${to}) as n)`;
    for (const statement of copyStatements(columns, spreadOf(rows[0] ?? {}), finished / first - 1, series)) await client.query(statement);
    await client.query("select setval(pg_get_serial_sequence('jobs', 'id'), (select max(id) from jobs))");
    await client.query("select setval('run_ids', (select max(id) from runs))");
    await client.query("vacuum analyze");
    await client.query("checkpoint");
  });
}

function growFile(): void {
  const db = new DatabaseSync(store);
  const columnsOf = (table: string): readonly string[] =>
    db
      .prepare("select name from pragma_table_info(?)")
      .all(table)
      .map((row) => (row as { name: string }).name);
  const columns: Columns = { jobs: columnsOf("jobs"), runs: columnsOf("runs") };
  const series = (from: number, to: number): string =>
    `(with recursive s (n) as (select ${from} union all select n + 1 from s where n < ${to}) select n from s)`;
  const spread = spreadOf(db.prepare(spreadStatement).get() as Record<string, unknown>);
  for (const statement of copyStatements(columns, spread, finished / first - 1, series)) db.exec(statement);
  db.exec("update meta set value = cast((select max(id) from runs) as text) where name = 'run_ids_set_aside'");
  db.exec("pragma wal_checkpoint(truncate)");
  db.close();
}

function spreadOf(row: Readonly<Record<string, unknown>>): Spread {
  return { jobFrom: Number(row["jobFrom"]), jobs: Number(row["jobs"]), runFrom: Number(row["runFrom"]), runs: Number(row["runs"]) };
}
