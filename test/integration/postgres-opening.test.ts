import pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import { openStore } from "../../src/store/open-store.ts";
import type { Store, StoreHint } from "../../src/store/port/store.ts";
import { hasPgbouncer, startPgbouncer } from "../support/pgbouncer.ts";
import { createDatabase, queryOnce, type TestDatabase } from "../support/postgres.ts";
import { skipTest } from "../support/skips.ts";
import { claim, declareQueues, registerWorker, success } from "../support/store-rows.ts";
import { StoreTestClock } from "../support/stores.ts";
import { until } from "../support/until.ts";

async function open(url: string): Promise<Store> {
  const store = await openStore({ url, clock: new StoreTestClock() });
  onTestFinished(() => store.close());
  return store;
}

async function database(): Promise<TestDatabase> {
  const made = await createDatabase();
  onTestFinished(() => made.drop());
  // A migrating application has such a table, whose columns are not ours.
  await queryOnce(made.url, "create table public.migrations (id text); insert into public.migrations values ('their first')");
  return made;
}

/** From an enqueued job to its end, and everything that a connection's session is needed for. */
async function work(store: Store, other: Store): Promise<void> {
  await declareQueues(store);
  const workerId = await registerWorker(store);
  const heard = new Set<StoreHint>();
  other.onHint((hint) => heard.add(hint));
  await store.jobs.enqueue({ queue: "t", jobs: Array.from({ length: 30 }, () => ({})) });
  await until(() => heard.has("jobs"), { what: "the hint of the other store" });
  const runs = await claim(other, { workerId, max: 30 });
  expect(runs).toHaveLength(30);
  await store.runs.settle(runs.map((run) => success(run)));
  await Promise.all(Array.from({ length: 20 }, (_, n) => (n % 2 === 0 ? store : other).upkeep.putSetting(`mark${n}`, "set")));
  expect(await other.upkeep.setting("mark0")).toBe("set");
  expect(await store.upkeep.checkInvariants()).toEqual([]);
}

test.each(["repeatable read", "serializable"])(
  "four that start at once on an empty database whose roles say %s all come up, and work [F-8.13]",
  async (level) => {
    const { url, name } = await database();
    await queryOnce(url, `alter database ${name} set default_transaction_isolation = '${level}'`);
    const stores = await Promise.all(Array.from({ length: 4 }, async () => await open(url)));
    await work(stores[0] as Store, stores[3] as Store);
  },
);

test("through PgBouncer in session mode everything works, from the first start on [F-8.13]", async (context) => {
  if (!hasPgbouncer) skipTest(context, "pgbouncer is not installed");
  const { url } = await database();
  const pooled = await startPgbouncer(url, "session");
  const [one, two] = await Promise.all([open(pooled), open(pooled)]);
  await work(one, two);
});

test.each(["transaction", "statement"] as const)(
  "PgBouncer in %s mode is refused in plain words, and nothing is left with those who share it [F-8.13]",
  async (mode, context) => {
    if (!hasPgbouncer) skipTest(context as never, "pgbouncer is not installed");
    const { url } = await database();
    const pooled = await startPgbouncer(url, mode);
    await expect(openStore({ url: pooled, clock: new StoreTestClock() })).rejects.toMatchObject({
      code: "config_invalid",
      message: expect.stringMatching(/is a pooler that gives each transaction another session.*Set pool_mode = session/),
    });
    const application = new pg.Client({ connectionString: pooled });
    await application.connect();
    onTestFinished(() => application.end());
    expect((await application.query("select id from migrations")).rows).toEqual([{ id: "their first" }]);
    expect((await application.query("select nspname from pg_namespace where nspname = 'wakeful'")).rows).toEqual([]);
  },
);

/** The URL of a role that owns nothing, and may connect. */
async function roleOn(url: string, name: string): Promise<string> {
  await queryOnce(url, `create role ${name} login password 'secret'`);
  onTestFinished(async () => await queryOnce(url, `drop owned by ${name}; drop role ${name}`));
  const own = new URL(url);
  own.username = name;
  own.password = "secret";
  return own.href;
}

test("a role that may not create the schema is told the statement that helps, and then it does [F-7.4]", async () => {
  const { url, name } = await database();
  const role = `ro_${name.slice(-12)}`;
  const own = await roleOn(url, role);
  await expect(openStore({ url: own, clock: new StoreTestClock() })).rejects.toMatchObject({
    code: "config_invalid",
    message: `role ${role} may not create schema wakeful in ${name}: GRANT CREATE ON DATABASE ${name} TO ${role}`,
  });
  await queryOnce(url, `grant create on database ${name} to ${role}`);
  const store = await openStore({ url: own, clock: new StoreTestClock() });
  await store.close();
});

test("so is one that may not use a schema that was made for it, and one of whose store another role is the owner [F-7.4]", async () => {
  const { url, name } = await database();
  const role = `us_${name.slice(-12)}`;
  const own = await roleOn(url, role);
  await queryOnce(url, "create schema wakeful");
  await expect(openStore({ url: own, clock: new StoreTestClock() })).rejects.toMatchObject({
    code: "config_invalid",
    message: `role ${role} may not use schema wakeful in ${name}: GRANT USAGE, CREATE ON SCHEMA wakeful TO ${role}`,
  });
  await (await openStore({ url, clock: new StoreTestClock() })).close();
  await expect(openStore({ url: own, clock: new StoreTestClock() })).rejects.toMatchObject({
    code: "config_invalid",
    message: expect.stringMatching(/GRANT USAGE/),
  });
  await queryOnce(url, `grant usage, create on schema wakeful to ${role}`);
  await expect(openStore({ url: own, clock: new StoreTestClock() })).rejects.toMatchObject({
    code: "config_invalid",
    message: expect.stringMatching(/permission denied.*Its role must own the schema and its tables/),
  });
});
