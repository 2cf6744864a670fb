import { expect, test } from "vitest";
import { itemLifecycle, visitLifecycle } from "../../src/domain/lifecycles/item.ts";
import { jobLifecycle } from "../../src/domain/lifecycles/job.ts";
import { leaseLifecycle } from "../../src/domain/lifecycles/lease.ts";
import { type Lifecycle, statesOf } from "../../src/domain/lifecycles/lifecycle.ts";
import { runLifecycle, runOutcomes } from "../../src/domain/lifecycles/run.ts";
import { workerLifecycle } from "../../src/domain/lifecycles/worker.ts";
import { sqliteMigrations } from "../../src/store/migrations/sqlite.ts";
import { describeStores, type TestStore } from "../support/stores.ts";

const tables = [
  ["jobs", "job_states", jobLifecycle],
  ["runs", "run_states", runLifecycle],
  ["items", "item_states", itemLifecycle],
  ["visits", "visit_states", visitLifecycle],
  ["workers", "worker_states", workerLifecycle],
  ["leases", "lease_states", leaseLifecycle],
] as const satisfies readonly (readonly [string, string, Lifecycle<string>])[];

describeStores((open, engine) => {
  test("the schema allows exactly the states of the lifecycle tables", async () => {
    const opened = await open();
    for (const [table, stateTable, lifecycle] of tables) {
      expect(await allowedStates(opened, engine, { table, stateTable, column: "state" }), table).toEqual(
        [...statesOf<string>(lifecycle)].sort(),
      );
    }
    expect(await allowedStates(opened, engine, { table: "runs", stateTable: "run_outcomes", column: "outcome" })).toEqual(
      [...runOutcomes].sort(),
    );
  });

  test("a fresh database gets its schema, and opening it again changes nothing [B-70]", async () => {
    const { openAgain, query } = await open();
    const before = await query("select number, name, applied_at from migrations");
    expect(before).toHaveLength(sqliteMigrations.length);
    await openAgain();
    expect(await query("select number, name, applied_at from migrations")).toEqual(before);
  });

  test("a database that a newer program has migrated is refused and left as it is", async () => {
    const { store, openAgain, query } = await open();
    await store.close();
    await query("insert into migrations (number, name, applied_at) values (999, 'from-the-future', 0) returning number");
    await expect(openAgain()).rejects.toMatchObject({ code: "store_newer", details: { found: 999 } });
    expect(await query("select count(*) as n from migrations")).toMatchObject([{ n: expect.anything() }]);
  });

  test("a closed store refuses calls as unavailable", async () => {
    const { store } = await open();
    await store.close();
    await expect(store.ping()).rejects.toMatchObject({ code: "unavailable", retryable: true });
    await expect(store.upkeep.counts()).rejects.toMatchObject({ code: "unavailable" });
    await expect(store.close()).resolves.toBeUndefined();
  });
});

/** The states that the engine accepts: rows of a small table in one, a CHECK constraint in the other. */
async function allowedStates(
  { query }: TestStore,
  engine: "sqlite" | "postgres",
  column: { readonly table: string; readonly stateTable: string; readonly column: string },
): Promise<readonly string[]> {
  if (engine === "sqlite") {
    const keys = await query(
      `select "from" as source from pragma_foreign_key_list('${column.table}') where "table" = '${column.stateTable}'`,
    );
    expect(keys, `${column.table}.${column.column} names ${column.stateTable}`).toEqual([{ source: column.column }]);
    return (await query(`select state from ${column.stateTable} order by state`)).map((row) => String(row.state));
  }
  // History has ended runs, and a table beside it those that have not.
  const of = column.table === "runs" && column.column === "state" ? ["runs", "live"] : [column.table];
  const checks = await query(
    `select pg_get_constraintdef(oid) as text from pg_constraint where contype = 'c' and conname in (${of.map((table) => `'${table}_${column.column}_check'`).join(", ")})`,
  );
  expect(checks).toHaveLength(of.length);
  return checks.flatMap(({ text }) => [...String(text).matchAll(/'([a-z_]+)'/g)].map((match) => String(match[1]))).sort();
}
