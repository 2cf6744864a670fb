import pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import { firstIdOfEpoch } from "../../src/domain/ids.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { Store, StoreHint } from "../../src/store/port/store.ts";
import { createDatabase } from "../support/postgres.ts";
import { copyServer } from "../support/postgres-copy.ts";
import { startPostgresServer } from "../support/postgres-server.ts";
import { claim, declareQueues, registerWorker, success } from "../support/store-rows.ts";
import { StoreTestClock } from "../support/stores.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import { until } from "../support/until.ts";

/** What docs/postgresql.md promises: how long after its connections fell silent a store works again. */
const silentBoundMs = 45_000;

async function open(url: string): Promise<Store> {
  const store = await openStore({ url, clock: new StoreTestClock() });
  onTestFinished(() => store.close());
  return store;
}

test("open connections that fall silent are given up, and every job is done once on new ones [F-8.2]", async () => {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const proxy = await startTcpProxy(database.url);
  const store = await open(proxy.url);
  await declareQueues(store);
  const workerId = await registerWorker(store);
  const jobs = Array.from({ length: 50 }, (_, index) => ({ enqueueId: `e${index}` }));
  await store.jobs.enqueue({ queue: "t", jobs: jobs.slice(0, 25) });
  const before = await claim(store, { workerId, max: 25 });

  // In the middle of everything: some of these reach the server, and none of their answers comes back.
  const cut = [
    store.jobs.enqueue({ queue: "t", jobs }),
    store.runs.settle(before.map((run) => success(run))),
    store.upkeep.putSetting("mark", "silent"),
    store.ping(),
  ];
  proxy.silence();
  const silentAt = performance.now();
  const answers = await Promise.allSettled(cut);
  for (const answer of answers)
    if (answer.status === "rejected") expect(answer.reason).toMatchObject({ code: "unavailable", retryable: true });
  expect(answers.filter(({ status }) => status === "rejected")).not.toEqual([]);

  // All callers repeat by their ids.
  const ids = await until(async () => await store.jobs.enqueue({ queue: "t", jobs }));
  expect(new Set(ids).size).toBe(50);
  const settled = await until(async () => await store.runs.settle(before.map((run) => success(run))));
  for (const { kind } of settled) expect(["ok", "already"]).toContain(kind);
  await until(async () => await store.upkeep.putSetting("mark", "heard").then(() => true));
  expect(performance.now() - silentAt).toBeLessThan(silentBoundMs);

  const after = await claim(store, { workerId, max: 100 });
  expect(after).toHaveLength(25);
  await store.runs.settle(after.map((run) => success(run)));
  const states = await Promise.all(ids.map(async (id) => (await store.jobs.get(id))?.state));
  expect(states.filter((state) => state === "done")).toHaveLength(50);
  expect(await store.upkeep.checkInvariants()).toEqual([]);
});

test("a store whose connections are silent closes all the same [F-8.2]", async () => {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const proxy = await startTcpProxy(database.url);
  const store = await open(proxy.url);
  await declareQueues(store);
  const underWay = [store.ping(), store.jobs.enqueue({ queue: "t", jobs: [{}] })];
  proxy.silence();
  const silentAt = performance.now();
  await store.close();
  expect(performance.now() - silentAt).toBeLessThan(silentBoundMs);
  for (const answer of await Promise.allSettled(underWay))
    if (answer.status === "rejected") expect(answer.reason).toMatchObject({ code: "unavailable" });
});

test("who only listens notices, too, that its connection fell silent, and hears again on another [F-8.2]", async () => {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const proxy = await startTcpProxy(database.url);
  const listener = await open(proxy.url);
  const other = await open(database.url);
  const heard = new Set<StoreHint>();
  listener.onHint((hint) => heard.add(hint));
  proxy.silence();
  const silentAt = performance.now();
  // All hints come with the new connection, because some may have been missed.
  await until(() => heard.size === 7, { what: "the hints after the reconnection" });
  expect(performance.now() - silentAt).toBeLessThan(silentBoundMs);
  heard.clear();
  await other.outbox.put({ kind: "alert", key: "k", payload: "1" });
  await until(() => heard.has("outbox"), { what: "a hint of the other program" });
});

test("connections that may only read any more are dropped, and work goes on with others [F-8.3]", async () => {
  const server = await startPostgresServer();
  onTestFinished(() => server.stop());
  const admin = new pg.Client({ connectionString: server.url });
  await admin.connect();
  onTestFinished(() => admin.end());
  await admin.query("create database work");
  const url = new URL(server.url);
  url.pathname = "/work";
  const store = await open(url.href);
  await declareQueues(store);
  const workerId = await registerWorker(store);
  await store.jobs.enqueue({ queue: "t", jobs: [{ enqueueId: "a" }] });
  const runs = await claim(store, { workerId, max: 1 });
  const sessions = async (): Promise<readonly number[]> => {
    const { rows } = await admin.query<{ pid: number }>("select pid from pg_stat_activity where datname = 'work'");
    return rows.map(({ pid }) => pid);
  };
  // What the database says counts for new sessions only, and more than what the server says.
  await admin.query("alter database work set default_transaction_read_only = off");
  await admin.query("alter system set default_transaction_read_only = on");
  await admin.query("select pg_reload_conf()");
  await until(async () => {
    const probe = new pg.Client({ connectionString: server.url });
    await probe.connect();
    const { rows } = await probe.query<{ default_transaction_read_only: string }>("show default_transaction_read_only");
    await probe.end();
    return rows[0]?.default_transaction_read_only === "on";
  });
  const old = await sessions();

  const refused = new Set<unknown>();
  const noting = async <T>(ask: () => Promise<T>): Promise<T> =>
    await until(
      async () =>
        await ask().catch((thrown: unknown) => {
          refused.add((thrown as { readonly code?: unknown }).code);
          throw thrown;
        }),
      { timeoutMs: 30_000, what: "an answer of a connection that writes" },
    );
  await noting(async () => await store.jobs.enqueue({ queue: "t", jobs: [{ enqueueId: "b" }] }));
  await noting(async () => await store.runs.settle(runs.map((run) => success(run))));
  await noting(async () => await store.upkeep.putSetting("mark", "written").then(() => true));
  await noting(async () => await store.outbox.put({ kind: "alert", key: "k", payload: "1" }).then(() => true));
  expect([...refused]).toEqual(["unavailable"]);
  const now = await sessions();
  expect(now.some((pid) => !old.includes(pid))).toBe(true);
  expect(await claim(store, { workerId, max: 10 })).toHaveLength(1);
});

test("after a fail-over that lost commits no run id is given out twice, whichever connection is back first [F-9.12]", async () => {
  const server = await startPostgresServer();
  onTestFinished(() => server.stop());
  const proxy = await startTcpProxy(server.url);
  const store = await open(proxy.url);
  await declareQueues(store);
  const workerId = await registerWorker(store);
  await store.jobs.enqueue({ queue: "t", jobs: Array.from({ length: 40 }, () => ({})) });
  const standby = await copyServer(server);
  // The tail that the fail-over loses: these ids are out in the world.
  const lost = new Set<number>();
  for (let n = 0; n < 20; n += 1) for (const { runId } of await claim(store, { workerId, max: 1 })) lost.add(runId);
  expect(lost.size).toBe(20);

  proxy.leadTo(await standby.promote());
  proxy.cut();
  // All connections come back at once, the hot ones among them, and each of them claims.
  const claims = await Promise.all(
    Array.from({ length: 20 }, async () => await until(async () => await claim(store, { workerId, max: 1 }), { everyMs: 1 })),
  );
  const given = claims.flat().map(({ runId }) => runId);
  expect(given).toHaveLength(20);
  expect(given.filter((id) => lost.has(id))).toEqual([]);
  expect(await store.upkeep.storeEpoch()).toBe(1);
  for (const id of given) expect(id).toBeGreaterThanOrEqual(firstIdOfEpoch(1));
  expect(await store.actions.list({ limit: 1 })).toMatchObject([{ action: "store.epoch_raised" }]);
});

test("of two stores that meet the new server at once one raises the epoch, and both go on [F-9.12]", async () => {
  const server = await startPostgresServer();
  onTestFinished(() => server.stop());
  const proxy = await startTcpProxy(server.url);
  const [one, two] = [await open(proxy.url), await open(proxy.url)];
  const standby = await copyServer(server);
  proxy.leadTo(await standby.promote());
  proxy.cut();
  await Promise.all([one, two].map(async (store) => await until(async () => await store.ping().then(() => true), { everyMs: 1 })));
  expect(await one.upkeep.storeEpoch()).toBe(1);
  // The same server again is none that anybody must be told of.
  proxy.cut();
  await until(async () => await two.ping().then(() => true), { everyMs: 1 });
  expect(await two.upkeep.storeEpoch()).toBe(1);
});
