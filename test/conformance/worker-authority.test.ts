import { describe, expect, test } from "vitest";
import { asRunId, asWorkerId, type WorkerId } from "../../src/domain/ids.ts";
import type { Fence } from "../../src/store/port/runs.ts";
import type { ExitReading } from "../../src/worker/worker-backend.ts";
import { present } from "../support/present.ts";
import { type DoorWorker, day, fenceOf, readingOf, reportOf, returned, serviceWorld } from "../support/service-world.ts";
import { processOn } from "../support/store-rows.ts";
import { describeStores } from "../support/stores.ts";
import { describeWorkerDoors } from "../support/worker-doors.ts";

describeStores((open) => {
  describeWorkerDoors((door) => {
    describe("a word that nobody may say", () => {
      /** Two running commands, one of the worker's own session and one of another's. */
      async function twoWorkers() {
        const world = await serviceWorld(open, door);
        await world.addItem("c");
        const owner = await world.worker({ kind: "command" });
        const [claimed] = await owner.claim("c/prep");
        const run = present(claimed);
        await owner.backend.start(owner.workerId, [{ ...fenceOf(run), startedAt: world.store.now(), wrapper: processOn(), limits: day }]);
        const stranger = await world.worker({ kind: "command" });
        const rows = async () => [
          await world.run(run.runId),
          await world.store.jobs.get(run.jobId),
          await world.store.actions.list({ runId: run.runId, limit: 9 }),
        ];
        return { world, owner, stranger, run, rows };
      }

      /** Calls every verb that writes to a run, in the name of a session. */
      async function sayAll({ backend }: DoorWorker, as: WorkerId, run: Fence, now: ExitReading["begunAt"]) {
        const fence = fenceOf(run);
        return {
          start: await backend.start(as, [{ ...fence, startedAt: now, limits: {} }]),
          command: [await backend.command(as, { ...fence, process: processOn("elsewhere", 9) })],
          returned: await backend.end(as, [reportOf(run, returned)]),
          exited: await backend.end(as, [reportOf(run, { kind: "exited", exitCode: 0 })]),
          threw: await backend.end(as, [reportOf(run, { kind: "threw", message: "no", permanent: true })]),
          abandoned: await backend.end(as, [reportOf(run, { kind: "not_started", cause: "abandoned", why: "not wanted" })]),
          reading: [await backend.reading(as, readingOf(run, now, { gate: { kind: "green" } }))],
        };
      }

      test("of a stranger's run: each is answered as lost, says who has the run, and changes nothing", async () => {
        const { world, owner, stranger, run, rows } = await twoWorkers();
        const before = await rows();
        for (const [verb, answers] of Object.entries(await sayAll(stranger, stranger.workerId, run, world.store.now())))
          expect(answers, verb).toMatchObject([{ kind: "lost", now: { workerId: owner.workerId, ownerEpoch: 1, state: "started" } }]);
        expect(await stranger.backend.beat(stranger.workerId, [{ runId: run.runId, at: world.store.now() }])).toEqual([run.runId]);
        const renewed = await stranger.backend.renew({ workerId: stranger.workerId, held: [run.runId], claimSeqReceived: 1 });
        expect(renewed.lost).toMatchObject([{ runId: run.runId }]);
        expect(await rows()).toEqual(before);
      });

      test("in a stranger's session: refused, and nothing changes", async () => {
        const { world, owner, stranger, run, rows } = await twoWorkers();
        const before = await rows();
        const as = owner.workerId;
        const { backend } = stranger;
        const said = await Promise.allSettled([
          sayAll(stranger, as, run, world.store.now()),
          backend.end(as, [reportOf(run, returned)]),
          backend.reading(as, readingOf(run, world.store.now())),
          backend.renew({ workerId: as, held: [], claimSeqReceived: 1 }),
          backend.beat(as, [{ runId: run.runId, at: world.store.now() }]),
          backend.adopt(as, { ...fenceOf(run), reason: "mine" }),
          backend.drain(as),
          backend.leave(as),
        ]);
        for (const each of said) expect(each).toMatchObject({ status: "rejected", reason: { code: "forbidden" } });
        await expect(stranger.backend.leave(asWorkerId(999))).rejects.toMatchObject({ code: "not_found" });
        expect(await rows()).toEqual(before);
        expect((await world.store.workers.get(as))?.state).toBe("live");
      });

      test.each(["declared dead", "left"])("in a session that is over (%s): each is answered as lost, and nothing changes", async (how) => {
        const { world, owner, run, rows } = await twoWorkers();
        if (how === "left") await owner.backend.leave(owner.workerId);
        else await world.store.workers.declareDead(owner.workerId, { reason: "dead_pid", message: "gone", evidence: "{}", actor: "test" });
        const before = await rows();
        const why = how === "left" ? "its session is stopped" : "its session is dead";
        for (const [verb, answers] of Object.entries(await sayAll(owner, owner.workerId, run, world.store.now())))
          expect(answers, verb).toMatchObject([{ kind: "lost", why }]);
        expect(await owner.backend.beat(owner.workerId, [{ runId: run.runId, at: world.store.now() }])).toEqual([run.runId]);
        expect(await owner.backend.adopt(owner.workerId, { ...fenceOf(run), reason: "mine" })).toBeUndefined();
        expect(await owner.claim("c/prep")).toEqual([]);
        expect(await rows()).toEqual(before);
      });

      test("under an owner epoch that a take-over has raised: each is answered as lost, and nothing changes", async () => {
        const { world, owner, stranger, run } = await twoWorkers();
        const adopted = await stranger.backend.adopt(stranger.workerId, { ...fenceOf(run), reason: "its supervisor is dead" });
        expect(adopted).toMatchObject({ ownerEpoch: 2, jobId: run.jobId, stage: { name: "prep" }, item: { key: "book" } });
        const before = await world.run(run.runId);
        for (const [verb, answers] of Object.entries(await sayAll(owner, owner.workerId, run, world.store.now())))
          expect(answers, verb).toMatchObject([{ kind: "lost", now: { workerId: stranger.workerId, ownerEpoch: 2 } }]);
        expect(await world.run(run.runId)).toEqual(before);
        const taken = { runId: run.runId, ownerEpoch: present(adopted).ownerEpoch };
        expect(await stranger.end(reportOf(taken, { kind: "exited", exitCode: 0 })), "the new supervisor's word counts").toMatchObject([
          { kind: "read" },
        ]);
      });

      test("too late: what a run returned after it had ended otherwise stays on record, once", async () => {
        const world = await serviceWorld(open, door);
        const [job] = await world.enqueue(1);
        const worker = await world.worker();
        const [claimed] = await worker.claim("t");
        const run = present(claimed);
        await world.store.jobs.cancel(present(job), { actor: "test", reason: "not wanted", stopBy: world.store.now() });
        await worker.backend.renew({ workerId: worker.workerId, held: [], claimSeqReceived: 1 });
        expect(await worker.end(reportOf(run, returned))).toMatchObject([{ kind: "lost" }]);
        expect(await worker.end(reportOf(run, returned))).toMatchObject([{ kind: "lost" }]);
        expect(await world.store.jobs.get(present(job))).toMatchObject({ state: "cancelled", output: null });
        const kept = (await world.store.actions.list({ runId: run.runId, limit: 9 })).filter(({ action }) => action === "run.late_result");
        expect(kept).toHaveLength(1);
        expect(world.eventsOf("run.late_result")[0]).toMatchObject({ runId: run.runId, queue: "t", tried: "succeeded" });
      });
    });

    describe("a take-over", () => {
      async function running(process = processOn()) {
        const world = await serviceWorld(open, door, { heartbeat: { timeoutMs: 5000, from: "output" } });
        await world.addItem("c");
        const old = await world.worker({ kind: "command", process });
        const [claimed] = await old.claim("c/prep");
        const run = present(claimed);
        await old.backend.start(old.workerId, [{ ...fenceOf(run), startedAt: world.store.now(), wrapper: process, limits: day }]);
        return { world, run };
      }

      test("goes to a worker of commands on the run's host, once, and brings what it needs", async () => {
        const { world, run } = await running();
        const [first, second] = [await world.worker({ kind: "command" }), await world.worker({ kind: "command" })];
        const adoption = { ...fenceOf(run), reason: "its supervisor is dead" };
        expect(await first.backend.adopt(first.workerId, adoption)).toMatchObject({
          ownerEpoch: 2,
          countsOutput: true,
          item: { input: '{"pages":3}' },
        });
        expect(await second.backend.adopt(second.workerId, adoption)).toBeUndefined();
        expect(await world.run(run.runId)).toMatchObject({ workerId: first.workerId, ownerEpoch: 2 });
        expect(world.eventsOf("run.adopted")).toMatchObject([
          { runId: run.runId, workerId: first.workerId, evidence: "its supervisor is dead" },
        ]);
      });

      test("is no handler worker's, no other host's, and not of a run that is not at work", async () => {
        const { world, run } = await running();
        const adoption = { ...fenceOf(run), reason: "mine" };
        const handler = await world.worker();
        expect(await handler.backend.adopt(handler.workerId, adoption)).toBeUndefined();
        const elsewhere = await world.worker({ kind: "command", process: processOn("host-b") });
        expect(await elsewhere.backend.adopt(elsewhere.workerId, adoption)).toBeUndefined();
        const here = await world.worker({ kind: "command" });
        expect(await here.backend.adopt(here.workerId, { ...adoption, runId: asRunId(4_000_000) })).toBeUndefined();
        expect(await world.run(run.runId)).toMatchObject({ ownerEpoch: 1 });
      });
    });

    test("a service that remembers nothing asks the store: its caller's runs go on, and strangers' stay strangers'", async () => {
      const world = await serviceWorld(open, door);
      const [mine, theirs] = await world.enqueue(2);
      const before = await world.worker();
      const [run] = await before.claim("t", { max: 1 });
      const other = await world.worker();
      const [foreign] = await other.claim("t", { max: 1 });
      world.restart();
      const backend = world.connect({ admits: ({ id }) => id === before.workerId });
      const { workerId } = before;
      expect(
        await backend.beat(
          workerId,
          [present(run), present(foreign)].map(({ runId }) => ({ runId, at: world.store.now() })),
        ),
      ).toEqual([present(foreign).runId]);
      expect(await backend.end(workerId, [reportOf(present(foreign), returned), reportOf(present(run), returned)])).toMatchObject([
        { kind: "lost" },
        { kind: "ok" },
      ]);
      expect([(await world.store.jobs.get(present(mine)))?.state, (await world.store.jobs.get(present(theirs)))?.state]).toEqual([
        "done",
        "running",
      ]);
      await expect(backend.end(other.workerId, [reportOf(present(foreign), returned)])).rejects.toMatchObject({ code: "forbidden" });
      expect(await backend.renew({ workerId, held: [], claimSeqReceived: 1 })).toMatchObject({ state: "live" });
    });
  });
});
