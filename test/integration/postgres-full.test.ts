import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chownSync, existsSync, mkdtempSync, rmdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import type { JobId } from "../../src/domain/ids.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { SettleAnswer, Settlement } from "../../src/store/port/runs.ts";
import type { Store } from "../../src/store/port/store.ts";
import { oneStage, startTestDaemon, submit, untilItem } from "../support/daemon.ts";
import { createDatabase, queryOnce, storeOptions, type TestDatabase } from "../support/postgres.ts";
import { startPostgresServer } from "../support/postgres-server.ts";
import { present } from "../support/present.ts";
import { skipTest } from "../support/skips.ts";
import { addItem, claim, claimOne, declareQueues, registerWorker, retried, startRun, success } from "../support/store-rows.ts";
import { StoreTestClock } from "../support/stores.ts";
import { until } from "../support/until.ts";

/** Makes every write to a growing table fail with this SQLSTATE, until the returned function is called. */
async function fail(database: TestDatabase, sqlState: string): Promise<() => Promise<void>> {
  const tables = ["jobs", "ready", "live", "runs", "items", "visits", "workers", "outbox", "action_logs"];
  await queryOnce(
    database.url,
    `create function wakeful.trouble() returns trigger language plpgsql as
       $$ begin raise exception 'could not extend file "base/1": No space left on device' using errcode = '${sqlState}'; end $$;
     ${tables.map((table) => `create trigger trouble before insert or update or delete on wakeful.${table} for each row execute function wakeful.trouble();`).join("\n")}`,
  );
  return async () => await queryOnce(database.url, "drop function wakeful.trouble() cascade");
}

async function database(): Promise<TestDatabase> {
  const made = await createDatabase();
  onTestFinished(() => made.drop());
  return made;
}

/** A connection past the store, which lasts until the test ends. */
async function connectTo(url: string): Promise<(text: string) => Promise<readonly Record<string, unknown>[]>> {
  const connection = new pg.Client({ connectionString: url, options: storeOptions });
  await connection.connect();
  onTestFinished(() => connection.end());
  return async (text) => (await connection.query<Record<string, unknown>>(text)).rows;
}

async function storeOf(url: string): Promise<Store> {
  const store = await openStore({ url, clock: new StoreTestClock() });
  onTestFinished(() => store.close());
  await declareQueues(store);
  return store;
}

/** Ends that are settled one by one are answered one by one: an end's own failure is thrown here. */
async function settleOne(store: Store, settlement: Settlement): Promise<SettleAnswer | undefined> {
  const [answer] = await store.runs.settle([settlement]);
  if (answer?.kind === "failed") throw answer.error;
  return answer;
}

test.each([
  ["a full disk", "53100", "disk_full"],
  ["a server out of memory", "53200", "unavailable"],
  ["a limit of the configuration", "53400", "unavailable"],
  ["a server that is not ready", "57P03", "unavailable"],
  ["a server that only reads", "25006", "unavailable"],
])(
  "%s: every verb tells it as a typed error that may be retried, nothing of it is stored, and afterwards all goes on",
  async (_what, sqlState, code) => {
    const db = await database();
    const store = await storeOf(db.url);
    const workerId = await registerWorker(store);
    const item = await addItem(store);
    await store.jobs.enqueue({ queue: "t", jobs: [{}, {}, {}] });
    const command = await claimOne(store, { workerId, queues: ["p/prep"] });
    await startRun(store, command);
    const [plain, failing] = await claim(store, { workerId, queues: ["t"], max: 2 });
    const before = await Promise.all([
      store.items.get(item.id),
      store.jobs.get(command.jobId),
      store.jobs.get(present(plain).jobId),
      store.upkeep.counts(),
    ]);

    const mend = await fail(db, sqlState);
    const verbs: Readonly<Record<string, () => Promise<unknown>>> = {
      enqueue: () => store.jobs.enqueue({ queue: "t", jobs: [{ enqueueId: "lost?" }] }),
      claim: () => claim(store, { workerId, queues: ["t"] }),
      "settle of a plain success": () => store.runs.settle([success(present(plain), { exitCode: undefined })]),
      "settle of a failure": () => settleOne(store, retried(present(failing))),
      "settle of an item's run": () => settleOne(store, success(command, { advance: { kind: "finish" } })),
      "record of an exit": () => store.runs.recordExit({ ...command, exitCode: 0, checkAt: store.now() }),
      beat: () => store.runs.beat([{ runId: command.runId, at: store.now() }]),
      renewal: () => store.workers.renew({ workerId, held: [], claimSeqReceived: 1 }),
      "new item": () => addItem(store, "second"),
      alert: () => store.outbox.put({ kind: "alert", key: "k", payload: "{}" }),
      cancel: () => store.jobs.cancel(present(plain).jobId, { actor: "test", reason: "r", stopBy: store.now() }),
    };
    for (const [verb, call] of Object.entries(verbs)) {
      const answer = await call().then(
        (value) => ({ value }),
        (thrown: unknown) => thrown,
      );
      expect(answer, verb).toMatchObject({ code, retryable: true });
    }
    expect(
      await Promise.all([
        store.items.get(item.id),
        store.jobs.get(command.jobId),
        store.jobs.get(present(plain).jobId),
        store.upkeep.counts(),
      ]),
      "reading goes on, and nothing has changed",
    ).toEqual(before);

    await mend();
    expect(await store.runs.settle([success(present(plain)), retried(present(failing))])).toMatchObject([{ kind: "ok" }, { kind: "ok" }]);
    expect(await store.runs.settle([success(command, { advance: { kind: "finish" } })])).toMatchObject([{ kind: "ok" }]);
    expect(await store.jobs.enqueue({ queue: "t", jobs: [{ enqueueId: "lost?" }] })).toHaveLength(1);
    expect(await store.items.get(item.id)).toMatchObject({ state: "done" });
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  },
);

test("a daemon on a server whose disk is full takes no work and loses none; when there is room again it goes on by itself", async () => {
  const db = await database();
  const yaml = `store: ${JSON.stringify(db.url)}${oneStage('while [ ! -e "$WAKEFUL_WORK_DIR/go" ]; do sleep 0.05; done')}`;
  const { client, dataDir, log } = await startTestDaemon({ yaml });
  const [running, waiting] = [await submit(client, "running"), await submit(client, "waiting")];
  const rows = await connectTo(db.url);
  await until(async () => (await rows("select 1 from live where state = 'started'")).length === 2, { what: "both to run" });
  const mend = await fail(db, "53100");
  const refused = submit(client, "refused");
  await expect(refused).rejects.toMatchObject({ code: "disk_full", retryable: true });
  writeFileSync(join(dataDir, "work", "running", "go"), "");
  await until(() => log.filter((line) => line.includes("store.degraded")).length >= 3, { what: "the daemon to notice" });
  expect(log.some((line) => line.includes("disk_full"))).toBe(true);
  expect(await rows("select count(*)::int as n from runs")).toEqual([{ n: 0 }]);
  expect(await rows("select count(*)::int as n from items")).toEqual([{ n: 2 }]);
  expect(await rows("select state from live order by id")).toEqual([{ state: "started" }, { state: "started" }]);
  await mend();
  const { runs } = await untilItem(client, running, "done");
  expect(runs).toMatchObject([{ attempt: 1, outcome: "succeeded", exitCode: 0 }]);
  writeFileSync(join(dataDir, "work", "waiting", "go"), "");
  const third = await submit(client, "refused");
  await until(() => existsSync(join(dataDir, "work", "refused")), { what: "the third to run" });
  writeFileSync(join(dataDir, "work", "refused", "go"), "");
  for (const id of [waiting, third]) expect((await untilItem(client, id, "done")).runs).toHaveLength(1);
});

test("a real server's full disk: what was acknowledged is there, what was refused is not, and room is all it takes to go on", async (context) => {
  const { place, giveTo, makeRoom } = smallDisk(context);
  // Its own server: while a disk is full no checkpoint succeeds, so no database of that server can be dropped.
  const server = await startPostgresServer();
  onTestFinished(() => server.stop());
  const [settings] = await (await connectTo(server.url))("show data_directory");
  giveTo(statSync(String(settings?.["data_directory"])));
  await queryOnce(server.url, `create tablespace small location '${place}'`);
  await queryOnce(server.url, "create database small template template0 tablespace small");
  const url = new URL(server.url);
  url.pathname = "/small";
  const store = await openStore({ url: url.href, clock: new StoreTestClock() });
  onTestFinished(() => store.close());
  await declareQueues(store);
  // A new connection may have to write a file first, so all that the full disk needs are opened before.
  const rows = await connectTo(url.href);

  const acknowledged: JobId[] = [];
  const fill = async (batch: number): Promise<unknown> => {
    // Incompressible, or the disk would never fill.
    const jobs = Array.from({ length: 20 }, (_, n) => ({
      payload: JSON.stringify(randomBytes(1500).toString("base64")),
      enqueueId: `${batch}-${n}`,
    }));
    try {
      acknowledged.push(...(await store.jobs.enqueue({ queue: "t", jobs })));
      // Keeps the connection for reading from being closed as idle.
      await store.ping();
      return undefined;
    } catch (thrown) {
      return thrown;
    }
  };
  let refusal: unknown;
  for (let batch = 0; batch < 2000; batch += 1) {
    refusal = await fill(batch);
    if (refusal !== undefined) break;
  }
  expect(refusal).toMatchObject({ code: "disk_full", retryable: true });
  expect(acknowledged.length).toBeGreaterThan(0);
  const last = present(acknowledged.at(-1));
  expect(await store.jobs.get(last)).toMatchObject({ state: "queued" });
  expect(await rows("select count(*)::int as n from jobs")).toEqual([{ n: acknowledged.length }]);
  expect(await store.upkeep.checkInvariants()).toEqual([]);

  makeRoom();
  const [run] = await until(async () => await claim(store, { queues: ["t"], max: 1 }), { what: "a claim to find room" });
  expect(await store.runs.settle([success(present(run))])).toMatchObject([{ kind: "ok" }]);
  expect(await store.jobs.enqueue({ queue: "t", jobs: [{}] })).toHaveLength(1);
  expect(await store.upkeep.checkInvariants()).toEqual([]);
});

interface Account {
  readonly uid: number;
  readonly gid: number;
}

interface SmallDisk {
  readonly place: string;
  /** Gives the folder to the account that the server runs as. */
  readonly giveTo: (account: Account) => void;
  readonly makeRoom: () => void;
}

/** A file system of 24 MB for a server, with 4 MB reserved that can be freed; removed when the test ends. */
function smallDisk(context: Parameters<typeof skipTest>[0]): SmallDisk {
  const folder = mkdtempSync(join(tmpdir(), "wakeful-small-disk-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=24m,mode=0711", "tmpfs", folder], { stdio: "ignore" });
  } catch {
    rmdirSync(folder);
    skipTest(context, "mounting a small file system is not permitted here");
  }
  onTestFinished(() => {
    execFileSync("umount", ["--lazy", folder]);
    rmdirSync(folder);
  });
  const filler = join(folder, "filler");
  writeFileSync(filler, Buffer.alloc(4 * 1024 * 1024));
  const place = join(folder, "space");
  execFileSync("mkdir", ["-m", "0700", place]);
  return { place, giveTo: ({ uid, gid }) => chownSync(place, uid, gid), makeRoom: () => rmSync(filler) };
}
