import { describe, expect, test } from "vitest";
import type { RunId } from "../../src/domain/ids.ts";
import { asOwnerEpoch, asRunId } from "../../src/domain/ids.ts";
import { addMs } from "../../src/domain/time.ts";
import type { RunEnding } from "../../src/worker/worker-backend.ts";
import { present } from "../support/present.ts";
import { day, fenceOf, readingOf, reportOf, returned, serviceWorld } from "../support/service-world.ts";
import { processOn } from "../support/store-rows.ts";
import { describeStores } from "../support/stores.ts";
import { describeWorkerDoors } from "../support/worker-doors.ts";

const gate = { kind: "file", path: "green", anyAge: true } as const;
const unstarted = (why: string): RunEnding => ({ kind: "not_started", cause: "unavailable", why });

describeStores((open) => {
  describeWorkerDoors((door) => {
    describe("a session", () => {
      test("is opened once, however often the same hello comes, and reported once", async () => {
        const world = await serviceWorld(open, door);
        const { backend, workerId, hello } = await world.worker();
        expect(await Promise.all([backend.hello(hello), backend.hello(hello)])).toEqual([workerId, workerId]);
        expect(await backend.hello({ ...hello, helloId: "another" })).not.toBe(workerId);
        expect((await world.store.workers.listAlive()).length).toBe(2);
        expect(world.eventsOf("worker.registered").map((event) => event.workerId)).toContain(workerId);
        expect(world.eventsOf("worker.registered")).toHaveLength(2);
      });

      test("renews what it says that it holds, and is told what is lost", async () => {
        const heard: unknown[] = [];
        const world = await serviceWorld(open, door, {}, { onRenewed: (renewal) => heard.push(renewal) });
        await world.enqueue(2);
        const { backend, workerId, claim } = await world.worker();
        const [kept, lost] = await claim("t");
        await world.store.jobs.cancel(present(lost).jobId, { actor: "test", reason: "not wanted", stopBy: world.store.now() });
        const held = [present(kept).runId, present(lost).runId];
        const answer = await backend.renew({ workerId, held, claimSeqReceived: 1 });
        expect(answer).toEqual({ state: "live", lost: [{ runId: present(lost).runId, why: expect.stringContaining("cancelled") }] });
        expect(heard).toEqual([{ workerId, held, claimSeqReceived: 1 }]);
      });

      test("holds what a claim gave it whose answer it has not confirmed, and what it does not name of an older claim it holds no more", async () => {
        const heard: { readonly held: readonly RunId[] }[] = [];
        const world = await serviceWorld(open, door, {}, { onRenewed: (renewal) => heard.push(renewal) });
        await world.enqueue(1);
        const { backend, workerId, claim } = await world.worker();
        const [run] = await claim("t");
        await backend.renew({ workerId, held: [], claimSeqReceived: 0 });
        await backend.renew({ workerId, held: [], claimSeqReceived: 1 });
        expect(heard.map(({ held }) => held)).toEqual([[present(run).runId], []]);
      });

      test("drains, leaves, and is over then: once, and reported once", async () => {
        const world = await serviceWorld(open, door);
        const { backend, workerId } = await world.worker();
        await backend.drain(workerId);
        expect((await world.store.workers.get(workerId))?.state).toBe("draining");
        await backend.leave(workerId);
        await backend.leave(workerId);
        expect((await world.store.workers.get(workerId))?.state).toBe("stopped");
        expect(world.eventsOf("worker.left")).toEqual([{ workerId }]);
        expect(await backend.renew({ workerId, held: [], claimSeqReceived: 0 })).toMatchObject({ state: "stopped" });
      });

      test("tells the store's time", async () => {
        const world = await serviceWorld(open, door);
        const { backend, workerId } = await world.worker();
        world.clock.advance(1234);
        await backend.renew({ workerId, held: [], claimSeqReceived: 0 });
        expect(backend.now()).toBe(world.store.now());
      });
    });

    describe("a claim", () => {
      test("brings all that a worker needs of the store: the item, its input, what the stage before made, and a command's token", async () => {
        const world = await serviceWorld(open, door);
        const handlerItem = await world.addItem("p");
        const handler = await world.worker();
        const [prep] = await handler.claim("p/prep");
        const { id, key, dir } = handlerItem;
        const item = { id, key, dir, pipeline: "p", label: "The Book", input: '{"pages":3}', previous: null };
        expect(present(prep)).toMatchObject({ itemId: id, item, started: true });
        expect(present(prep).token).toBeUndefined();
        await handler.end(reportOf(present(prep), { kind: "returned", output: '{"files":2}' }));
        const [ocr] = await handler.claim("p/ocr");
        expect(present(ocr).item).toEqual({ ...item, previous: '{"files":2}' });

        await world.addItem("c");
        const [command] = await (await world.worker({ kind: "command" })).claim("c/prep");
        expect(present(command)).toMatchObject({ started: false, token: `token of ${present(command).runId}` });
        await world.enqueue(1);
        expect(await handler.claim("t")).toMatchObject([{ payload: '"do"', itemId: null }]);
      });

      test("asked again after a lost answer takes nothing more", async () => {
        const world = await serviceWorld(open, door);
        await world.enqueue(3);
        const { backend, workerId } = await world.worker();
        const request = { claimId: "once", workerId, claimSeq: 1, queues: [{ name: "t", limits: day }], max: 2, startNow: 2 };
        const first = await backend.claim(request);
        expect(await backend.claim(request)).toEqual(first);
        expect(first).toHaveLength(2);
      });

      test("gets nothing where its caller may not claim, in a session that is over, and in another caller's", async () => {
        const world = await serviceWorld(open, door);
        await world.enqueue(1);
        const paused = await world.worker({ backend: world.connect({ mayClaim: () => false }) });
        expect(await paused.claim("t")).toEqual([]);
        const gone = await world.worker();
        await gone.backend.leave(gone.workerId);
        expect(await gone.claim("t")).toEqual([]);
        const other = await world.worker();
        const request = {
          claimId: "theirs",
          workerId: other.workerId,
          claimSeq: 1,
          queues: [{ name: "t", limits: day }],
          max: 1,
          startNow: 1,
        };
        await expect(gone.backend.claim(request)).rejects.toMatchObject({ code: "forbidden" });
        expect((await other.claim("t")).length).toBe(1);
      });
    });

    describe("a start", () => {
      test("is looked at first by the thresholds in force, written once, and reported for commands", async () => {
        const world = await serviceWorld(open, door, {}, { checks: { firstCheckAt: (at) => addMs(at, 77), finalizeGraceMs: () => 5 } });
        await world.addItem("c");
        const { backend, workerId, claim } = await world.worker({ kind: "command" });
        const [run] = await claim("c/prep");
        const start = { ...fenceOf(present(run)), startedAt: world.store.now(), wrapper: processOn("host-a", 55), limits: day };
        expect(await backend.start(workerId, [start])).toEqual([{ kind: "ok" }]);
        expect(await backend.start(workerId, [start])).toEqual([{ kind: "already" }]);
        expect(await world.run(present(run).runId)).toMatchObject({ state: "started", checkAt: addMs(world.store.now(), 77), limits: day });
        expect(world.eventsOf("run.started")).toMatchObject([
          { runId: present(run).runId, queue: "c/prep", attempt: 1, workerId, pid: 55 },
        ]);
      });

      test("and the command's own process takes its wrapper's place", async () => {
        const world = await serviceWorld(open, door);
        await world.addItem("c");
        const { backend, workerId, claim } = await world.worker({ kind: "command" });
        const [run] = await claim("c/prep");
        await backend.start(workerId, [{ ...fenceOf(present(run)), startedAt: world.store.now(), wrapper: processOn(), limits: day }]);
        const process = processOn("host-a", 56);
        expect(await backend.command(workerId, { ...fenceOf(present(run)), process })).toEqual({ kind: "ok" });
        expect(await world.run(present(run).runId)).toMatchObject({ process, wrapper: { pid: 100 } });
      });
    });

    describe("an end", () => {
      test("that returned is done with its output, is told once, and may be said again", async () => {
        const world = await serviceWorld(open, door);
        const [job] = await world.enqueue(1);
        const worker = await world.worker();
        const [run] = await worker.claim("t");
        const report = reportOf(present(run), returned);
        expect(await worker.end(report)).toEqual([{ kind: "ok" }]);
        expect(await worker.end(report)).toEqual([{ kind: "already" }]);
        expect(await world.store.jobs.get(present(job))).toMatchObject({ state: "done", output: '"made"', attempts: 1 });
        expect(world.eventsOf("runs.settled")).toEqual([{ count: 1 }]);
      });

      test("of a reserved run brings its start along, also where it failed", async () => {
        const world = await serviceWorld(open, door);
        const jobs = await world.enqueue(2, { maxAttempts: 1 });
        const worker = await world.worker();
        const [good, bad] = await worker.claim("t", { startNow: 0 });
        const start = { startedAt: world.store.now(), limits: day };
        const threw: RunEnding = { kind: "threw", message: "no", permanent: false };
        await worker.end(reportOf(present(good), returned, { start }), reportOf(present(bad), threw, { start }));
        const ended = await Promise.all(jobs.map((id) => world.store.jobs.get(id)));
        expect(ended).toMatchObject([
          { state: "done", attempts: 1 },
          { state: "failed", attempts: 1 },
        ]);
        expect((await world.run(present(bad).runId))?.startedAt).toBe(start.startedAt);
      });

      test("moves the item on in its own settlement, and holds it where what follows is declared no more", async () => {
        const world = await serviceWorld(open, door);
        const item = await world.addItem("p");
        const worker = await world.worker();
        const [run] = await worker.claim("p/prep");
        expect(await worker.end(reportOf(present(run), returned))).toMatchObject([{ kind: "ok" }]);
        expect(await world.store.items.get(item.id)).toMatchObject({ stage: "ocr" });
        expect(world.eventsOf("item.advanced")).toMatchObject([{ itemId: item.id, from: "prep", to: "ocr" }]);
      });

      const endings: readonly (readonly [
        string,
        RunEnding,
        { readonly state: string; readonly attempts: number; readonly reason: string; readonly outcome: string },
      ])[] = [
        [
          "threw",
          { kind: "threw", message: "no", permanent: false },
          { state: "scheduled", attempts: 1, reason: "handler_error", outcome: "failed" },
        ],
        [
          "threw for good",
          { kind: "threw", message: "never", permanent: true },
          { state: "failed", attempts: 1, reason: "permanent_error", outcome: "failed" },
        ],
        [
          "returned what cannot be kept",
          { kind: "bad_output", why: "not JSON" },
          { state: "scheduled", attempts: 1, reason: "bad_output", outcome: "failed" },
        ],
        [
          "ran into its timeout",
          { kind: "timed_out", afterMs: 5000 },
          { state: "scheduled", attempts: 1, reason: "timeout", outcome: "timed_out" },
        ],
        [
          "was handed back",
          { kind: "released", why: "the worker is draining" },
          { state: "queued", attempts: 0, reason: "released", outcome: "released" },
        ],
        [
          "was interrupted",
          { kind: "released", why: "SIGINT", byPerson: true },
          { state: "queued", attempts: 0, reason: "interrupted", outcome: "released" },
        ],
      ];
      test.each(endings)("by the retry contract: %s", async (_what, ending, { state, attempts, reason, outcome }) => {
        const world = await serviceWorld(open, door);
        const [job] = await world.enqueue(1);
        const worker = await world.worker();
        const [run] = await worker.claim("t");
        expect(await worker.end(reportOf(present(run), ending))).toEqual([{ kind: "ok" }]);
        expect(await world.store.jobs.get(present(job))).toMatchObject({ state, attempts });
        expect(await world.run(present(run).runId)).toMatchObject({ outcome, reason });
        expect(world.eventsOf("run.ended")).toMatchObject([{ jobId: job, outcome, reason, jobState: state, actor: "worker" }]);
      });

      const starts: readonly (readonly [
        string,
        RunEnding,
        { readonly state: string; readonly attempts: number; readonly reason: string; readonly outcome: string },
      ])[] = [
        [
          "failed",
          { kind: "not_started", cause: "failed", why: "no such folder" },
          { state: "scheduled", attempts: 1, reason: "start_failed", outcome: "failed" },
        ],
        ["unavailable", unstarted("no space"), { state: "queued", attempts: 0, reason: "start_failed", outcome: "never_started" }],
        [
          "a folder that exists",
          { kind: "not_started", cause: "run_dir_exists", why: "exists" },
          { state: "queued", attempts: 0, reason: "run_dir_exists", outcome: "never_started" },
        ],
        [
          "no word to go",
          { kind: "not_started", cause: "no_go", why: "no word" },
          { state: "queued", attempts: 0, reason: "nogo", outcome: "never_started" },
        ],
      ];
      test.each(starts)("of a command that was not started: %s", async (_what, ending, { state, attempts, reason, outcome }) => {
        const world = await serviceWorld(open, door);
        const item = await world.addItem("c");
        const worker = await world.worker({ kind: "command" });
        const epoch = await world.store.upkeep.storeEpoch();
        const [run] = await worker.claim("c/prep");
        expect(await worker.end(reportOf(present(run), ending))).toEqual([{ kind: "ok" }]);
        expect(await world.store.items.jobs(item.id)).toMatchObject([{ state, attempts }]);
        expect(await world.run(present(run).runId)).toMatchObject({ outcome, reason });
        const raised = reason === "run_dir_exists" ? 1 : 0;
        expect(await world.store.upkeep.storeEpoch(), "a store older than its folders begins a new range of ids").toBe(epoch + raised);
      });

      test("whose process may still be at work keeps its job until that is proved gone", async () => {
        const world = await serviceWorld(open, door);
        const [job] = await world.enqueue(1);
        const worker = await world.worker();
        const [run] = await worker.claim("t");
        await worker.end(reportOf(present(run), { kind: "timed_out", afterMs: 5000 }, { mayStillRun: true }));
        expect(await world.store.jobs.get(present(job))).toMatchObject({ blockedBy: present(run).runId });
      });

      test("of many is answered for each, in order: one's fault is not another's", async () => {
        const world = await serviceWorld(open, door);
        const jobs = await world.enqueue(3);
        const worker = await world.worker();
        const [first, second, third] = await worker.claim("t");
        await world.store.jobs.cancel(present(second).jobId, { actor: "test", reason: "not wanted", stopBy: world.store.now() });
        const answers = await worker.end(
          reportOf(present(first), { kind: "threw", message: "no", permanent: true }),
          reportOf(present(second), { kind: "threw", message: "no", permanent: true }),
          reportOf({ runId: asRunId(4_000_000), ownerEpoch: asOwnerEpoch(1) }, returned),
          reportOf(present(third), returned),
        );
        expect(answers).toMatchObject([
          { kind: "ok" },
          { kind: "lost", why: expect.stringContaining("cancelled") },
          { kind: "gone" },
          { kind: "ok" },
        ]);
        const states = await Promise.all(jobs.map(async (id) => (await world.store.jobs.get(id))?.state));
        expect(states).toEqual(["failed", "cancelled", "done"]);
      });
    });

    describe("an exit", () => {
      test("is on record before anything follows from it; then the gate, read by the worker, decides", async () => {
        const world = await serviceWorld(open, door, { gate, gatePatienceMs: 600_000 });
        const item = await world.addItem("p");
        const worker = await world.worker();
        const [claimed] = await worker.claim("p/prep", { startNow: 0 });
        const run = present(claimed);
        const start = { startedAt: world.store.now(), limits: day };
        const answers = await worker.end(reportOf(run, returned, { start }));
        expect(answers).toEqual([{ kind: "read", at: world.store.now() }]);
        expect(await worker.end(reportOf(run, returned, { start })), "said again").toMatchObject([{ kind: "read" }]);
        expect(await world.run(run.runId)).toMatchObject({ state: "exited", exitCode: 0, startedAt: start.startedAt });
        expect(world.eventsOf("run.exited")).toMatchObject([{ runId: run.runId, exitCode: 0, source: "handler" }]);

        const away = { kind: "unreadable", error: "the disk is away" } as const;
        const first = await worker.backend.reading(worker.workerId, readingOf(run, world.store.now(), { gate: away }));
        expect(first).toEqual({ kind: "read", at: addMs(world.store.now(), 1000) });
        expect(world.eventsOf("run.deferred")).toMatchObject([{ runId: run.runId, reason: "the disk is away" }]);
        expect((await world.run(run.runId))?.gatePendingAt).toBe(world.store.now());

        const green = readingOf(run, world.store.now(), { gate: { kind: "green" }, output: { kind: "json", text: '{"pages":3}' } });
        expect(await worker.backend.reading(worker.workerId, green)).toMatchObject({ kind: "ok" });
        expect(await world.store.items.get(item.id)).toMatchObject({ stage: "ocr" });
        expect(await world.store.items.visits(item.id)).toMatchObject([{ state: "passed", output: '{"pages":3}' }, { state: "open" }]);
        expect(await worker.backend.reading(worker.workerId, green), "said again").toMatchObject({ kind: "lost" });
      });

      test("whose gate the worker does not know is none that passes", async () => {
        const world = await serviceWorld(open, door, { gate, gatePatienceMs: 0 });
        const item = await world.addItem("p");
        const worker = await world.worker();
        const [claimed] = await worker.claim("p/prep");
        const run = present(claimed);
        await worker.end(reportOf(run, returned));
        await worker.backend.reading(worker.workerId, readingOf(run, world.store.now(), { gate: { kind: "none" } }));
        expect(await world.run(run.runId)).toMatchObject({ outcome: "gate_red", reason: "gate_unreadable" });
        expect((await world.store.items.get(item.id))?.stage).toBe("prep");
      });

      test("of a command is judged by its code, and what it left behind keeps its job until that is gone", async () => {
        const world = await serviceWorld(open, door);
        const item = await world.addItem("c");
        const worker = await world.worker({ kind: "command" });
        const [claimed] = await worker.claim("c/prep");
        const run = present(claimed);
        await worker.backend.start(worker.workerId, [{ ...fenceOf(run), startedAt: world.store.now(), wrapper: processOn(), limits: day }]);
        expect(await worker.end(reportOf(run, { kind: "exited", exitCode: 3 }))).toMatchObject([{ kind: "read" }]);
        expect(await world.run(run.runId)).toMatchObject({ state: "exited", exitCode: 3 });
        const reading = readingOf(run, world.store.now(), { straysLeft: true, evidence: { command: 56 } });
        expect(await worker.backend.reading(worker.workerId, reading)).toMatchObject({ kind: "ok" });
        expect(await world.run(run.runId)).toMatchObject({
          outcome: "failed",
          reason: "exit_code",
          evidence: expect.stringContaining('"command":56'),
        });
        expect(await world.store.items.jobs(item.id)).toMatchObject([{ attempts: 1, blockedBy: run.runId }]);
      });

      test("that is not on record cannot be read", async () => {
        const world = await serviceWorld(open, door, { gate });
        await world.addItem("p");
        const worker = await world.worker();
        const [claimed] = await worker.claim("p/prep");
        const reading = readingOf(present(claimed), world.store.now(), { gate: { kind: "green" } });
        expect(await worker.backend.reading(worker.workerId, reading)).toMatchObject({
          kind: "lost",
          why: expect.stringContaining("started"),
        });
        expect(await world.run(present(claimed).runId)).toMatchObject({ state: "started" });
      });
    });

    test("a command whose host has slept may run for as long again", async () => {
      const world = await serviceWorld(open, door);
      await world.addItem("c");
      const worker = await world.worker({ kind: "command" });
      const limits = { ...day, timeoutMs: 60_000 };
      const [claimed] = await worker.claim("c/prep", { limits });
      const run = present(claimed);
      await worker.backend.start(worker.workerId, [{ ...fenceOf(run), startedAt: world.store.now(), wrapper: processOn(), limits }]);
      world.clock.advance(60_000);
      await world.store.runs.addSuspend({ hostId: processOn().hostId, ms: 20_000 });
      const timedOut: RunEnding = { kind: "timed_out", afterMs: 60_000 };
      expect(await worker.end(reportOf(run, timedOut, { mayStillRun: true }))).toEqual([{ kind: "early", leftMs: 20_000 }]);
      expect(await world.run(run.runId)).toMatchObject({ state: "started" });
      world.clock.advance(20_000);
      expect(await worker.end(reportOf(run, timedOut, { mayStillRun: true }))).toMatchObject([{ kind: "ok" }]);
      expect(await world.run(run.runId)).toMatchObject({ outcome: "timed_out", message: "running for 60 s, timeout 60 s" });
    });
  });
});
