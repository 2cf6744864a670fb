import { expect, test } from "vitest";
import { RepairWorld } from "../../test/support/repair-world.ts";
import { Operations } from "./operations.ts";
import { PausedWorkers } from "./paused-workers.ts";

async function world() {
  const opened = await RepairWorld.open();
  const { store, registry, events } = opened.world;
  const operations = new Operations({
    store,
    registry,
    emit: (name, data) => events.push({ name, data }),
    newKey: () => "made",
    tasks: () => new Set(),
    pausedWorkers: await PausedWorkers.open(store.upkeep),
    stopWithinMs: () => 17_000,
  });
  return { opened, operations, told: () => events.map(({ name, data }) => ({ name, ...data })) };
}

const person = { reason: "not needed", actor: "ana" };

test("a cancelled job at work is reported, and the end of its run with it", async () => {
  const { opened, operations, told } = await world();
  const run = await opened.running();
  await operations.cancelJob({ id: run.jobId, ...person });
  expect(told()).toEqual([
    { name: "job.cancelled", jobId: run.jobId, actor: "ana", reason: "not needed" },
    {
      name: "run.ended",
      runId: run.runId,
      jobId: run.jobId,
      queue: "dev",
      outcome: "cancelled",
      reason: "cancelled",
      message: "cancelled: not needed",
      jobState: "cancelled",
      actor: "ana",
    },
  ]);
});

test("the item of a cancelled job ends with it, and is reported like one that is cancelled itself", async () => {
  for (const what of ["job", "item"] as const) {
    const { opened, operations, told } = await world();
    const item = await opened.addItem();
    const run = await opened.start({ queue: "p/prep" });
    if (what === "job") await operations.cancelJob({ id: run.jobId, ...person });
    else await operations.cancelItem({ id: item.id, ...person });
    expect(told().filter(({ name }) => name !== "job.cancelled")).toMatchObject([
      { name: "run.ended", runId: run.runId, queue: "p/prep", outcome: "cancelled" },
      { name: "item.ended", itemId: item.id, state: "cancelled", reason: "not needed" },
    ]);
  }
});

test("without a run at work no run is reported, and where all has ended nothing is", async () => {
  const { opened, operations, told } = await world();
  const item = await opened.addItem();
  await operations.cancelItem({ id: item.id, ...person });
  expect(told()).toEqual([{ name: "item.ended", itemId: item.id, state: "cancelled", reason: "not needed" }]);
  await expect(operations.cancelItem({ id: item.id, ...person })).rejects.toMatchObject({ code: "conflict" });
  const [job] = await opened.store.items.jobs(item.id);
  if (job === undefined) throw new Error("the item has no job");
  await expect(operations.cancelJob({ id: job.id, ...person })).rejects.toMatchObject({ code: "conflict" });
  expect(told()).toHaveLength(1);
});
