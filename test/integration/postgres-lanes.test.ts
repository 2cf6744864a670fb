import { expect, onTestFinished, test, vi } from "vitest";
import { asJobId } from "../../src/domain/ids.ts";
import { openStore } from "../../src/store/open-store.ts";
import { TurnConnection } from "../../src/store/postgres/turn-connection.ts";
import { handlerBench } from "../support/handler-bench.ts";
import { createDatabase, queryOnce } from "../support/postgres.ts";
import { claim, declareQueues, registerWorker, success } from "../support/store-rows.ts";
import { StoreTestClock } from "../support/stores.ts";
import { until } from "../support/until.ts";

const realRun = TurnConnection.prototype.run;

test("hot connections that the server ends are replaced; what was cut off is told as unavailable, and may be asked again by its id", async () => {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const clock = new StoreTestClock();
  const store = await openStore({ url: database.url, clock });
  onTestFinished(() => store.close());
  await declareQueues(store);
  const workerId = await registerWorker(store);
  const cutAll = async (): Promise<void> =>
    await queryOnce(
      database.url,
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
    );

  await store.jobs.enqueue({ queue: "t", jobs: [{ enqueueId: "a" }] });
  await cutAll();
  // Idle connections were cut: the next call gets a new one, or a retryable error.
  const ids = await until(async () => await store.jobs.enqueue({ queue: "t", jobs: [{ enqueueId: "a" }, { enqueueId: "b" }] }));
  expect(ids).toHaveLength(2);

  const asked = Promise.allSettled(
    Array.from({ length: 200 }, (_, index) => store.jobs.enqueue({ queue: "t", jobs: [{ enqueueId: `c${index}` }] })),
  );
  await cutAll();
  for (const answer of await asked) {
    if (answer.status === "rejected") expect(answer.reason).toMatchObject({ code: "unavailable", retryable: true });
  }
  await until(
    async () =>
      await Promise.all(Array.from({ length: 200 }, (_, index) => store.jobs.enqueue({ queue: "t", jobs: [{ enqueueId: `c${index}` }] }))),
  );
  const runs = await until(async () => await claim(store, { workerId, max: 500 }));
  expect(runs).toHaveLength(202);

  const settling = Promise.allSettled(runs.map((run) => store.runs.settle([success(run)])));
  await cutAll();
  const cut = (await settling).filter((answer) => answer.status === "rejected");
  for (const answer of cut) expect(answer).toMatchObject({ reason: { code: "unavailable" } });
  const again = await until(async () => await store.runs.settle(runs.map((run) => success(run))));
  for (const answer of again) expect(["ok", "already"]).toContain(answer.kind);
  expect(await store.upkeep.checkInvariants()).toEqual([]);
});

test("a worker with many outstanding keeps both lanes at work, in turns no larger than the limit", async () => {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const clock = new StoreTestClock();
  const store = await openStore({ url: database.url, clock });
  onTestFinished(() => store.close());
  const bench = await handlerBench([], { store, clock });
  const ids = await bench.enqueue(2000);
  const lanes = new Map<TurnConnection, number[]>();
  const run = vi.spyOn(TurnConnection.prototype, "run");
  onTestFinished(() => run.mockRestore());
  run.mockImplementation(async function (this: TurnConnection, statements) {
    for (const { statement, values } of statements)
      if (statement.name === "settle") lanes.set(this, [...(lanes.get(this) ?? []), (values[0] as readonly unknown[]).length]);
    return await Reflect.apply(realRun, this, [statements]);
  });
  await bench.worker({
    concurrency: 10,
    outstandingMax: 500,
    // Time that stands still: every bound is reached, however slow the machine is.
    monoNow: () => 0,
    handlers: { task: async () => undefined },
  });
  await until(async () => (await store.jobs.get(asJobId(ids.at(-1) ?? 0)))?.state === "done");
  expect(lanes.size).toBe(2);
  const sizes = [...lanes.values()].flat();
  expect(Math.max(...sizes)).toBe(store.capabilities.turns.rowsMax);
  expect(sizes.filter((rows) => rows === 250).length).toBeGreaterThanOrEqual(4);
});
