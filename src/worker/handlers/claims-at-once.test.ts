import { expect, test } from "vitest";
import { handlerBench } from "../../../test/support/handler-bench.ts";
import { until } from "../../../test/support/until.ts";
import { asJobId } from "../../domain/ids.ts";

const stateOf = async (bench: Awaited<ReturnType<typeof handlerBench>>, id: number) => (await bench.store.jobs.get(asJobId(id)))?.state;

test("with many outstanding two claims are under way, neither claims nor ends exceed a turn, and the bound holds", async () => {
  const bench = await handlerBench();
  const ids = await bench.enqueue(120);
  const sizes = { claim: [] as number[], settle: [] as number[] };
  let underWay = 0;
  let underWayMost = 0;
  let breach = "";
  await bench.worker({
    concurrency: 2,
    outstandingMax: 20,
    turns: { atOnce: 2, rowsMin: 4, rowsMax: 8 },
    monoNow: () => 0,
    handlers: { task: async () => undefined },
    runs: (direct) => ({
      claim: async (request) => {
        sizes.claim.push(request.max);
        underWayMost = Math.max(underWayMost, ++underWay);
        const runs = await direct.claim(request);
        const live = await bench.store.runs.listAllLive({ limit: 500 });
        if (live.length > 20) breach = `${live.length} live`;
        underWay--;
        return runs;
      },
      settle: async (settlements) => {
        sizes.settle.push(settlements.length);
        return await direct.settle(settlements);
      },
    }),
  });
  await until(async () => (await Promise.all(ids.map((id) => stateOf(bench, id)))).every((state) => state === "done"));
  expect(underWayMost).toBe(2);
  expect([Math.max(...sizes.claim), Math.max(...sizes.settle)]).toEqual([8, 8]);
  expect(breach).toBe("");
  expect((await Promise.all(ids.map((id) => bench.store.jobs.get(asJobId(id))))).map((job) => job?.runCount)).toEqual(ids.map(() => 1));
});

test("with few outstanding there is one claim at a time, with the ends of its turn", async () => {
  const bench = await handlerBench();
  const ids = await bench.enqueue(60);
  let underWay = 0;
  let underWayMost = 0;
  await bench.worker({
    concurrency: 10,
    outstandingMax: 10,
    turns: { atOnce: 2, rowsMin: 100, rowsMax: 250 },
    monoNow: () => 0,
    handlers: { task: async () => undefined },
    runs: (direct) => ({
      claim: async (request) => {
        underWayMost = Math.max(underWayMost, ++underWay);
        const runs = await direct.claim(request);
        underWay--;
        return runs;
      },
    }),
  });
  await until(async () => (await Promise.all(ids.map((id) => stateOf(bench, id)))).every((state) => state === "done"));
  expect(underWayMost).toBe(1);
});

test("draining waits for both claims under way, and hands back what they bring", async () => {
  const bench = await handlerBench();
  const ids = await bench.enqueue(40);
  const held: (() => void)[] = [];
  let hold = false;
  const { worker } = await bench.worker({
    concurrency: 2,
    outstandingMax: 20,
    turns: { atOnce: 2, rowsMin: 4, rowsMax: 8 },
    monoNow: () => 0,
    handlers: { task: async () => undefined },
    runs: (direct) => ({
      claim: async (request) => {
        const runs = await direct.claim(request);
        if (request.max === 8) hold = true;
        if (hold) await new Promise<void>((resolve) => held.push(resolve));
        return runs;
      },
    }),
  });
  await until(() => held.length === 2, { what: "two claims whose answers are held back" });
  let drained = false;
  const draining = worker.drain().then(() => {
    drained = true;
  });
  held[1]?.();
  await until(async () => (await bench.store.runs.listAllLive({ limit: 500 })).length === 8, { what: "the runs of one to be handed back" });
  expect(drained).toBe(false);
  held[0]?.();
  await draining;
  expect(await bench.store.runs.listAllLive({ limit: 500 })).toEqual([]);
  const jobs = await Promise.all(ids.map((id) => bench.store.jobs.get(asJobId(id))));
  expect(jobs.filter((job) => job?.state === "queued").every((job) => job?.attempts === 0)).toBe(true);
  expect(jobs.filter((job) => job?.state === "queued").length).toBeGreaterThanOrEqual(16);
});
