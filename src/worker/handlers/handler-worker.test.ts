import fc from "fast-check";
import { expect, test } from "vitest";
import { Gatekeeper, handlerBench, type Gatekeeper as Keeper } from "../../../test/support/handler-bench.ts";
import { until } from "../../../test/support/until.ts";
import { WakefulError } from "../../domain/errors.ts";
import { asJobId, asRunId } from "../../domain/ids.ts";
import type { RunsStore } from "../../store/port/runs.ts";

const stateOf = async (bench: Awaited<ReturnType<typeof handlerBench>>, id: number) => (await bench.store.jobs.get(asJobId(id)))?.state;
const started = async (keeper: Keeper, count: number) =>
  await until(() => keeper.started.length >= count, { what: `${count} handlers to have started`, everyMs: 1 });

test("jobs are run to their end, each once, with their payload and output", async () => {
  const bench = await handlerBench();
  const seen: unknown[] = [];
  const ids = await bench.enqueue(50, { payloads: Array.from({ length: 50 }, (_, n) => JSON.stringify({ n })) });
  await bench.worker({
    handlers: {
      task: async (job: { payload: { n: number } }) => {
        seen.push(job.payload.n);
        return { twice: job.payload.n * 2 };
      },
    },
  });
  await until(async () => (await stateOf(bench, ids.at(-1) ?? 0)) === "done");
  expect(seen.toSorted((a, b) => Number(a) - Number(b))).toEqual(Array.from({ length: 50 }, (_, n) => n));
  const job = await bench.store.jobs.get(asJobId(ids[7] ?? 0));
  expect(job).toMatchObject({ state: "done", output: '{"twice":14}', attempts: 1 });
});

test("a settlement and the claim that follows it reach the store in one turn", async () => {
  const bench = await handlerBench();
  await bench.enqueue(3);
  const calls: string[] = [];
  const turns: string[][] = [];
  const note = (call: string) => {
    if (calls.length === 0) {
      setImmediate(() => turns.push(calls.splice(0)));
    }
    calls.push(call);
  };
  const keeper = new Gatekeeper();
  await bench.worker({
    concurrency: 1,
    outstandingMax: 1,
    handlers: { task: keeper.handler },
    runs: (direct) => ({
      claim: (request) => {
        note("claim");
        return direct.claim(request);
      },
      settle: (settlements) => {
        note("settle");
        return direct.settle(settlements);
      },
    }),
  });
  for (let done = 0; done < 3; done++) {
    await started(keeper, done + 1);
    keeper.finish(keeper.started[done]?.runId ?? asRunId(0));
  }
  await until(() => turns.flat().filter((call) => call === "settle").length === 3);
  expect(turns.filter((turn) => turn.includes("settle"))).toEqual([
    ["settle", "claim"],
    ["settle", "claim"],
    ["settle", "claim"],
  ]);
});

test("a worker claims up to its bound and no further, and starts what fits", async () => {
  const bench = await handlerBench();
  const ids = await bench.enqueue(30);
  const keeper = new Gatekeeper();
  const { worker } = await bench.worker({ concurrency: 2, outstandingMax: 5, handlers: { task: keeper.handler } });
  await started(keeper, 2);
  expect(worker.outstanding).toBe(2);
  for (let done = 0; done < 30; done++) {
    await started(keeper, done + 1);
    expect(worker.outstanding).toBeLessThanOrEqual(5);
    expect(worker.held().length).toBeLessThanOrEqual(5);
    keeper.finish(keeper.started[done]?.runId ?? asRunId(0));
  }
  await until(async () => (await stateOf(bench, ids.at(-1) ?? 0)) === "done");
});

test("however long handlers take and whatever fails, no job is lost and the bound holds", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        jobs: fc.integer({ min: 1, max: 60 }),
        concurrency: fc.integer({ min: 1, max: 5 }),
        ahead: fc.integer({ min: 0, max: 12 }),
        ends: fc.array(fc.constantFrom("sync", "later", "throws", "bad"), { minLength: 1, maxLength: 10 }),
        faults: fc.array(fc.boolean(), { minLength: 1, maxLength: 12 }),
        turns: fc.constantFrom(undefined, { atOnce: 2, rowsMin: 2, rowsMax: 4 }),
      }),
      async ({ jobs, concurrency, ahead, ends, faults, turns }) => {
        const bench = await handlerBench();
        const outstandingMax = concurrency + ahead;
        const ids = await bench.enqueue(jobs, { maxAttempts: 1 });
        let active = 0;
        let activeMost = 0;
        let calls = 0;
        const trouble = () => {
          if (faults[calls++ % faults.length] === true && calls < 40) throw new WakefulError("unavailable", "the store is busy");
        };
        let breach = "";
        const { worker } = await bench.worker({
          concurrency,
          outstandingMax,
          turns,
          handlers: {
            task: (job) => {
              const end = ends[job.id % ends.length];
              active++;
              activeMost = Math.max(activeMost, active);
              if (end === "later" || end === "throws") {
                return new Promise((resolve, reject) => {
                  setImmediate(() => {
                    active--;
                    if (end === "later") resolve("ok");
                    else reject(new Error("no"));
                  });
                });
              }
              active--;
              return end === "bad" ? 1n : undefined;
            },
          },
          runs: (direct) => ({
            claim: async (request) => {
              trouble();
              const runs = await direct.claim(request);
              // What the store has live is what a crash right now would repeat.
              const live = await bench.store.runs.listAllLive({ limit: 500 });
              const aside = bench.events.filter(({ data }) => "code" in data && data.code === "end_set_aside").length;
              if (live.length > outstandingMax + aside) breach = `${live.length} live, at most ${outstandingMax + aside} allowed`;
              return runs;
            },
            start: async (starts) => {
              trouble();
              return await direct.start(starts);
            },
            listLive: async (wanted) => {
              trouble();
              return await direct.listLive(wanted);
            },
          }),
          backend: () => ({
            onJobs: (listener) => {
              const timer = setInterval(listener, 2);
              return () => clearInterval(timer);
            },
          }),
        });
        await until(
          async () => (await Promise.all(ids.map((id) => stateOf(bench, id)))).every((state) => state === "done" || state === "failed"),
          { everyMs: 5, what: "every job to end" },
        );
        await worker.drain();
        expect(breach).toBe("");
        expect(activeMost).toBeLessThanOrEqual(concurrency);
        expect(worker.outstanding).toBe(0);
        expect(worker.held()).toEqual([]);
        for (const id of ids) {
          const good = ["sync", "later"].includes(ends[id % ends.length] ?? "");
          expect(await bench.store.jobs.get(asJobId(id))).toMatchObject({ state: good ? "done" : "failed", attempts: 1 });
        }
      },
    ),
    { numRuns: 25 },
  );
});

test("settlements that fail are sent again until the store takes them, and count as held meanwhile", async () => {
  const bench = await handlerBench();
  const ids = await bench.enqueue(4);
  let failures = 3;
  let heldWhileFailing = 0;
  const { worker } = await bench.worker({
    concurrency: 4,
    handlers: { task: async () => "kept" },
    runs: (direct) => ({
      settle: async (settlements) => {
        if (failures-- > 0) {
          heldWhileFailing = Math.max(heldWhileFailing, worker.held().length);
          throw new WakefulError("disk_full", "no space left");
        }
        return await direct.settle(settlements);
      },
    }),
  });
  await until(async () => (await Promise.all(ids.map((id) => stateOf(bench, id)))).every((state) => state === "done"));
  expect(heldWhileFailing).toBe(4);
  expect(bench.events.filter((event) => event.name === "store.degraded")).toHaveLength(3);
  expect(bench.events.filter((event) => event.name === "runs.settled").map((event) => event.data)).toEqual([{ count: 4 }]);
});

test("one settlement that the store refuses does not hold up the others", async () => {
  const bench = await handlerBench();
  const ids = await bench.enqueue(3);
  const poison = ids[1] ?? 0;
  await bench.worker({
    concurrency: 3,
    handlers: { task: async () => undefined },
    runs: (direct) => ({
      settle: async (settlements) => {
        if (settlements.some(({ jobId }) => jobId === asJobId(poison))) throw new WakefulError("bad_request", "refused");
        return await direct.settle(settlements);
      },
    }),
  });
  await until(async () => (await stateOf(bench, ids[0] ?? 0)) === "done" && (await stateOf(bench, ids[2] ?? 0)) === "done");
  await until(() => bench.events.some((event) => event.name === "defect.found"));
  expect(await stateOf(bench, poison)).toBe("running");
});

test("a claim whose answer got lost is asked again under the same id, so that its runs are not forgotten", async () => {
  const bench = await handlerBench();
  const ids = await bench.enqueue(2);
  const asked: string[] = [];
  await bench.worker({
    handlers: { task: async () => undefined },
    runs: (direct) => ({
      claim: async (request) => {
        const runs = await direct.claim(request);
        asked.push(request.claimId);
        if (asked.length === 1) throw new WakefulError("unavailable", "the answer got lost");
        return runs;
      },
    }),
    backend: () => ({
      onJobs: (listener) => {
        const timer = setInterval(listener, 2);
        return () => clearInterval(timer);
      },
    }),
  });
  await until(async () => (await Promise.all(ids.map((id) => stateOf(bench, id)))).every((state) => state === "done"));
  expect(asked[1]).toBe(asked[0]);
});

test("a job that is enqueued while a claim is on its way is found without waiting for the poll", async () => {
  const bench = await handlerBench();
  let claims = 0;
  let letGo: () => void = () => undefined;
  const { worker } = await bench.worker({
    handlers: { task: async () => undefined },
    pollMs: 3_600_000,
    runs: (direct) => ({
      claim: async (request) => {
        claims++;
        const runs = await direct.claim(request);
        if (claims === 1) await new Promise<void>((resolve) => (letGo = resolve));
        return runs;
      },
    }),
  });
  await until(() => claims === 1 && worker.claimSeqReceived === 0);
  const [id = 0] = await bench.enqueue(1);
  await new Promise((resolve) => setImmediate(resolve));
  letGo();
  await until(async () => (await stateOf(bench, id)) === "done", { what: "the job, long before the poll" });
});

test("a settlement without the fence is told as a late result and changes nothing", async () => {
  const bench = await handlerBench();
  const [id = 0] = await bench.enqueue(1);
  const keeper = new Gatekeeper();
  await bench.worker({ handlers: { task: keeper.handler } });
  await started(keeper, 1);
  await bench.store.jobs.cancel(asJobId(id), { actor: "test", reason: "not wanted", stopBy: bench.store.now() });
  keeper.finish(keeper.started[0]?.runId ?? asRunId(0));
  await until(() => bench.events.some((event) => event.name === "run.late_result"));
  expect(await stateOf(bench, id)).toBe("cancelled");
});

test("draining ends what is active and hands back what had not started, unspent", async () => {
  const bench = await handlerBench();
  const ids = await bench.enqueue(6);
  const keeper = new Gatekeeper();
  const { worker } = await bench.worker({
    concurrency: 1,
    outstandingMax: 10,
    monoNow: () => 0,
    handlers: { task: keeper.handler },
  });
  await started(keeper, 1);
  keeper.finish(keeper.started[0]?.runId ?? asRunId(0));
  await started(keeper, 2);
  await until(() => worker.outstanding > 1, { what: "runs reserved ahead" });
  const drained = worker.drain();
  keeper.finish(keeper.started[1]?.runId ?? asRunId(0));
  await drained;
  expect(worker.held()).toEqual([]);
  const jobs = await Promise.all(ids.map((id) => bench.store.jobs.get(asJobId(id))));
  expect(jobs.map((job) => [job?.state, job?.attempts])).toEqual([
    ["done", 1],
    ["done", 1],
    ["queued", 0],
    ["queued", 0],
    ["queued", 0],
    ["queued", 0],
  ]);
  expect(keeper.started).toHaveLength(2);
});

test("at shutdown a handler that throws because it was asked to stop spends nothing", async () => {
  const bench = await handlerBench();
  const [id = 0] = await bench.enqueue(1, { maxAttempts: 1 });
  const keeper = new Gatekeeper();
  keeper.polite = true;
  const { worker } = await bench.worker({ handlers: { task: keeper.handler } });
  await started(keeper, 1);
  expect(await worker.abort(5_000)).toEqual([]);
  expect(await bench.store.jobs.get(asJobId(id))).toMatchObject({ state: "queued", attempts: 0 });
});

test("at shutdown a handler that ignores the request is named, and its job is not handed on", async () => {
  const bench = await handlerBench();
  const [id = 0] = await bench.enqueue(1);
  const keeper = new Gatekeeper();
  const { worker } = await bench.worker({ handlers: { task: keeper.handler } });
  await started(keeper, 1);
  const busy = await worker.abort(5);
  expect(busy).toEqual([keeper.started[0]?.runId]);
  expect(await stateOf(bench, id)).toBe("running");
});

test("past its timeout a handler is asked to stop, and what it answers does not count", async () => {
  const bench = await handlerBench();
  const [id = 0] = await bench.enqueue(1, { maxAttempts: 1 });
  const keeper = new Gatekeeper();
  await bench.worker({ handlers: { task: keeper.handler }, limits: { timeoutMs: 5, maxRunningMs: 1e6 } });
  await started(keeper, 1);
  const { runId, signal } = keeper.started[0] ?? { runId: asRunId(0), signal: AbortSignal.abort() };
  await until(() => signal.aborted);
  keeper.finish(runId, "at last");
  await until(async () => (await stateOf(bench, id)) === "failed");
  const run = await bench.store.runs.get(runId);
  expect(run).toMatchObject({ outcome: "timed_out", reason: "timeout", spent: "attempt" });
  expect(await bench.store.jobs.get(asJobId(id))).toMatchObject({ output: null, blockedBy: null });
});

test("a handler that does not stop keeps its slot; its job waits for the end of the process and the rest is handed back", async () => {
  const bench = await handlerBench();
  const ids = await bench.enqueue(4);
  const keeper = new Gatekeeper();
  const stuck: number[] = [];
  const { worker } = await bench.worker({
    concurrency: 2,
    handlers: { task: keeper.handler },
    limits: { timeoutMs: 5, maxRunningMs: 1e6 },
    stopGraceMs: 5,
    onStuck: (runId) => stuck.push(runId),
  });
  await started(keeper, 2);
  await until(() => stuck.length === 2);
  await worker.drain();
  const [first, second, third, fourth] = await Promise.all(ids.map((id) => bench.store.jobs.get(asJobId(id))));
  for (const job of [first, second]) {
    expect(job?.blockedBy).not.toBeNull();
    expect(["queued", "scheduled"]).toContain(job?.state);
  }
  expect([third?.state, fourth?.state]).toEqual(["queued", "queued"]);
  expect(keeper.started).toHaveLength(2);
  // Its late answer changes nothing any more.
  keeper.finish(keeper.started[0]?.runId ?? asRunId(0), "late");
  await worker.drain();
  expect((await bench.store.runs.get(keeper.started[0]?.runId ?? asRunId(0)))?.outcome).toBe("timed_out");
});

test("a worker that cannot start its runs in the store settles them all the same, attempts counted once", async () => {
  const bench = await handlerBench();
  const ids = await bench.enqueue(20);
  await bench.worker({
    concurrency: 1,
    handlers: { task: async () => undefined },
    runs: () => ({ start: () => Promise.reject(new WakefulError("unavailable", "busy")) }),
  });
  await until(async () => (await Promise.all(ids.map((id) => stateOf(bench, id)))).every((state) => state === "done"));
  for (const id of ids) {
    expect((await bench.store.jobs.get(asJobId(id)))?.attempts).toBe(1);
    const [run] = await bench.store.runs.ofJob(asJobId(id));
    expect(run?.startedAt).not.toBeNull();
  }
});

/** Whose ends the store does not take, for a cause that no other text mends. */
const takingAllBut = (poison: ReadonlySet<number>) => (direct: RunsStore) => ({
  settle: async (settlements: Parameters<RunsStore["settle"]>[0]) => {
    if (settlements.some(({ jobId }) => poison.has(jobId))) throw new Error("this end is not taken");
    return await direct.settle(settlements);
  },
});

test.each(["returns", "throws"])(
  "more ends that the store does not take than there are places stop no claim: a handler %s [F-8.1]",
  async (way) => {
    const bench = await handlerBench();
    const ids = await bench.enqueue(20, { maxAttempts: 1 });
    const poison = new Set(ids.slice(0, 6));
    const { worker } = await bench.worker({
      concurrency: 2,
      outstandingMax: 8,
      handlers: {
        task: async ({ id }) => {
          if (way === "throws" && poison.has(id)) throw new Error("no");
        },
      },
      runs: takingAllBut(poison),
    });
    await until(async () => (await Promise.all(ids.slice(6).map((id) => stateOf(bench, id)))).every((state) => state === "done"));
    const named = (await bench.store.runs.listAllLive({ limit: 50 })).map(({ id }) => id);
    expect(ascending(worker.held()), "what is not written is still named").toEqual(ascending(named));
    poison.clear();
    const end = way === "throws" ? "failed" : "done";
    await until(async () => (await Promise.all(ids.slice(0, 6).map((id) => stateOf(bench, id)))).every((state) => state === end));
    expect([worker.outstanding, worker.held()]).toEqual([0, []]);
  },
);

test("a stop is not held by ends that the store does not take: they are named in the log and left to their judge [F-8.1]", async () => {
  const bench = await handlerBench();
  const ids = await bench.enqueue(2);
  const { worker } = await bench.worker({
    handlers: { task: async () => await Promise.reject(new Error("no")) },
    runs: takingAllBut(new Set(ids)),
  });
  await until(() => bench.events.some(({ name }) => name === "store.degraded"));
  const named = ascending(worker.held());
  expect(await worker.abort(1, { unwrittenMs: 1 })).toEqual([]);
  const last = bench.events.findLast(({ name }) => name === "store.degraded")?.data;
  expect(last).toMatchObject({ code: "ends_not_written", message: expect.stringContaining(named.join(", ")) as string });
  expect(worker.held()).toEqual([]);
  expect(await worker.abort(1), "a second stop has nothing to wait for").toEqual([]);
});

const ascending = (ids: readonly number[]) => ids.toSorted((a, b) => a - b);
