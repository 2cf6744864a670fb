import { expect, test } from "vitest";
import { addMs, asInstant, hours, minutes } from "../../src/domain/time.ts";
import { instantColumns } from "../../src/store/upkeep/clock-reset.ts";
import {
  addItem,
  claim,
  claimOne,
  declareQueues,
  failure,
  later,
  processOn,
  registerWorker,
  retried,
  startRun,
  success,
} from "../support/store-rows.ts";
import { describeStores, type TestStore } from "../support/stores.ts";

const year = hours(24 * 365);
const columnsNamed = Object.entries(instantColumns).flatMap(([table, columns]) =>
  Object.keys(columns).map((column) => ({ table, column })),
);
/** Columns that may lie in the future. */
const plans = ["jobs.run_at", "jobs.scheduled_at", "jobs.stop_by", "lease_waiters.timeout_at", "leases.expires_at"];

/** The columns that hold an instant beyond `limit`. */
async function ahead({ query }: TestStore, limit: number): Promise<readonly string[]> {
  const found: string[] = [];
  for (const { table, column } of columnsNamed) {
    const [row] = await query(`select count(*) as n from ${table} where ${column} > ${limit}`);
    if (Number(row?.n) > 0) found.push(`${table}.${column}`);
  }
  return found.toSorted();
}

/** One row's values, which one engine answers as texts. */
async function numbers({ query }: TestStore, text: string): Promise<readonly number[]> {
  const [row, ...more] = await query(text);
  if (row === undefined || more.length > 0) throw new Error(`not one row: ${text}`);
  return Object.values(row).map(Number);
}

/** Everything that a day's work stores, at the clock's present time. */
async function work({ store, clock }: TestStore, key: string): Promise<void> {
  const now = clock.now();
  await store.upkeep.recordHost({ hostId: processOn().hostId, bootId: key });
  await store.items.putPipeline({ pipeline: key, hash: key, definition: "{}" });
  await addItem(store, `${key}-done`);
  const first = await claimOne(store);
  await startRun(store, first);
  await store.runs.settle([success(first, { advance: { kind: "finish" } })]);
  await addItem(store, `${key}-failed`);
  const second = await claimOne(store);
  await startRun(store, second);
  await store.runs.settle([failure(second)]);
  await store.jobs.enqueue({ queue: "t", jobs: [{}, {}] });
  const [blocked, live] = await claim(store, { queues: ["t"] });
  if (blocked === undefined || live === undefined) throw new Error("not claimed");
  await store.runs.beat([{ runId: live.runId, at: now }]);
  await store.runs.recordExit({ ...live, exitCode: 0, checkAt: addMs(now, 1) });
  await store.runs.recordGatePending({ ...live, checkAt: addMs(now, 2), pendingSince: now });
  await store.runs.settle([retried(blocked, { retry: later(minutes(5)), stopBy: addMs(now, 17_000) })]);
  const lease = { name: key, ttlMs: 60_000, maxHoldMs: hours(1), timeoutAt: addMs(now, minutes(3)) };
  await store.leases.acquire({ ...lease, ticket: `${key}-1`, holder: { kind: "process", process: processOn() } });
  await store.leases.acquire({ ...lease, ticket: `${key}-2`, holder: { kind: "process", process: processOn() } });
  await store.outbox.put({ kind: "alert", key, payload: "{}" });
  const item = await store.items.byKey("p", `${key}-done`);
  if (item === undefined) throw new Error("no item");
  await store.duplicates.add({
    pipeline: "p",
    key,
    existingItemId: item.id,
    fileName: key,
    path: `/in/${key}`,
    sizeBytes: 1,
  });
}

describeStores((open, engine) => {
  test("each column of the schema that holds an instant is known to the reset", async () => {
    const { query } = await open();
    const columns =
      engine === "sqlite"
        ? "select m.name as t, c.name as c from sqlite_schema m join pragma_table_info(m.name) c where m.type = 'table'"
        : "select table_name as t, column_name as c from information_schema.columns where table_schema = current_schema()";
    const instants = (await query(columns))
      .filter(({ c }) => /(^|_)at$|^stop_by$|_until$/.test(String(c)))
      .map(({ t, c }) => `${String(t)}.${String(c)}`);
    expect(columnsNamed.map(({ table, column }) => `${table}.${column}`).sort()).toEqual(instants.sort());
  });

  test("nothing is changed in a store without an instant ahead, whatever it has planned", async () => {
    const opened = await open();
    await declareQueues(opened.store);
    await work(opened, "sound");
    const rows = async () => [await opened.query("select * from jobs order by id"), await opened.query("select * from live order by id")];
    const before = await rows();
    expect(await opened.store.upkeep.resetClock({ to: opened.clock.now(), actor: "ana" })).toEqual({});
    expect(await rows()).toEqual(before);
    expect(await opened.store.actions.list({ limit: 1000 })).not.toContainEqual(expect.objectContaining({ action: "clock.reset" }));
  });

  test("what was stored while the clock was a year ahead is brought back, what was planned keeps its distance", async () => {
    const opened = await open();
    const { store, clock } = opened;
    await declareQueues(store);
    const worker = await registerWorker(store);
    const run = await (async () => {
      await store.jobs.enqueue({ queue: "t", jobs: [{}] });
      return await claimOne(store, { workerId: worker, queues: ["t"] });
    })();
    const [later] = await store.jobs.enqueue({ queue: "t", delayMs: hours(3), jobs: [{}] });
    const right = clock.now();
    clock.advance(year);
    await work(opened, "ahead");
    await store.runs.settle([success(run)]);
    const to = addMs(right, minutes(1));
    expect((await ahead(opened, to)).length).toBeGreaterThan(20);

    const rows = await store.upkeep.resetClock({ to, actor: "ana" });
    expect(Object.keys(rows)).toEqual(
      expect.arrayContaining(["live", "jobs", "runs", "items", "visits", "leases", "hosts", "action_logs", "outbox"]),
    );
    expect(await ahead(opened, to)).toEqual(plans);
    expect(await store.upkeep.newestInstant()).toBe(to);
    expect(await store.upkeep.checkInvariants()).toEqual([]);

    expect(await numbers(opened, `select run_at from jobs where id = ${later}`), "planned before").toEqual([right + hours(3)]);
    expect(await numbers(opened, "select run_at, stop_by from jobs where blocked_by is not null")).toEqual([to + minutes(5), to + 17_000]);
    expect(await numbers(opened, "select expires_at from leases")).toEqual([to + 60_000]);
    expect(await numbers(opened, "select timeout_at from lease_waiters")).toEqual([to + minutes(3)]);
    const total = Object.values(rows).reduce((sum, count) => sum + count, 0);
    expect((await store.actions.list({ limit: 1000 })).find(({ action }) => action === "clock.reset")).toMatchObject({
      actor: "ana",
      at: to,
      message: `${total} rows were ahead of the clock`,
    });
    expect(await store.upkeep.resetClock({ to, actor: "ana" }), "once is enough").toEqual({});
  });

  test("a reset that fails half-way changes nothing", async () => {
    const opened = await open();
    const { store, clock, query } = opened;
    await declareQueues(store);
    const right = clock.now();
    clock.advance(year);
    await work(opened, "ahead");
    const before = await ahead(opened, right);
    await query(
      engine === "sqlite"
        ? "create trigger refuse before update on hosts begin select raise(abort, 'no'); end"
        : "alter table hosts add constraint refuse check (seen_at > 1800000000000) not valid",
    );
    const refusing = asInstant(right - hours(24 * 365));
    await expect(store.upkeep.resetClock({ to: refusing, actor: "ana" })).rejects.toThrow(/\bno\b|refuse/);
    expect(await ahead(opened, right)).toEqual(before);
  });
});
