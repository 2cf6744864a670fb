import { expect, onTestFinished, test } from "vitest";
import { openStore } from "../../src/store/open-store.ts";
import { createDatabase, queryOnce } from "../support/postgres.ts";
import { claim, declareQueues, registerWorker, success } from "../support/store-rows.ts";
import { StoreTestClock } from "../support/stores.ts";
import { until } from "../support/until.ts";

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
