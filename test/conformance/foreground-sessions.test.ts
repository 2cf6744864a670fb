import { existsSync, mkdirSync } from "node:fs";
import { expect, test } from "vitest";
import { asOwnerEpoch } from "../../src/domain/ids.ts";
import { dataPaths } from "../../src/files/data-paths.ts";
import type { EventName } from "../../src/telemetry/events.ts";
import { foregroundCaller } from "../../src/worker/backends/caller-sessions.ts";
import { ForegroundSessions, type RunSessionRef } from "../../src/worker/foreground/foreground-sessions.ts";
import { present } from "../support/present.ts";
import { addItem, claimOne, declareQueues, processOn, registerWorker } from "../support/store-rows.ts";
import { describeStores, type OpenTestStore } from "../support/stores.ts";
import { tempDir } from "../support/temp-dir.ts";
import { describeForegroundDoors, type ForegroundDoor } from "../support/worker-doors.ts";
import { serviceOf } from "../support/worker-service.ts";

const process = { ...processOn(), hostId: processOn().hostId };
const command = processOn("host-a", 200);
const request = { argv: ["make", "test"], cwd: "/src", process };

async function worldOn(open: OpenTestStore, door: ForegroundDoor) {
  const { store } = await open();
  await declareQueues(store);
  const paths = dataPaths(tempDir("foreground"));
  mkdirSync(paths.runsDir);
  const events: EventName[] = [];
  const emit = (name: EventName): void => void events.push(name);
  let ids = 0;
  const daemon = async () =>
    await door(
      new ForegroundSessions({
        store,
        worker: serviceOf({ store, emit }).connect(foregroundCaller),
        host: process,
        paths,
        newId: () => `id-${++ids}`,
        renewMs: 10,
        diskLow: () => false,
        onRegistered: async () => undefined,
        emit,
      }),
    );
  const verbs = await daemon();
  const ref = ({ workerId, runId, ownerEpoch }: RunSessionRef): RunSessionRef => ({ workerId, runId, ownerEpoch });
  const opened = async () => {
    const { runDir, jobId, ...session } = await verbs.open(request);
    return { run: ref(session), runDir, jobId };
  };
  return { store, verbs, events, opened, restart: daemon };
}

describeStores((open) => {
  describeForegroundDoors((door) => {
    test.each([
      [0, "succeeded", "done"],
      [3, "failed", "failed"],
      [143, "failed", "failed"],
    ] as const)("a run from its opening to its exit with %i", async (exitCode, outcome, state) => {
      const { store, verbs, events, opened } = await worldOn(open, door);
      const { run, runDir, jobId } = await opened();
      expect(existsSync(runDir)).toBe(true);
      expect(await verbs.start({ ...run, process })).toBe(true);
      expect(await verbs.recordCommand({ ...run, process: command })).toBe(true);
      expect(await verbs.renew(run)).toEqual({ lost: null });
      expect(await store.runs.get(run.runId)).toMatchObject({ state: "started", process: command, wrapper: process });
      expect(await verbs.end({ ...run, exitCode })).toBe(true);
      expect(await verbs.end({ ...run, exitCode }), "said again").toBe(true);
      expect(await store.runs.get(run.runId)).toMatchObject({ state: "ended", outcome, exitCode });
      expect(await store.jobs.get(jobId)).toMatchObject({ state });
      expect((await store.workers.get(run.workerId))?.state).toBe("stopped");
      expect(events.filter((name) => name.startsWith("run.") || name.startsWith("worker."))).toEqual([
        "worker.registered",
        "run.exited",
        "run.ended",
        "worker.left",
      ]);
    });

    test("a run that was never started is cancelled, and its command must not be started then", async () => {
      const { store, verbs, opened } = await worldOn(open, door);
      const { run, jobId } = await opened();
      await verbs.abandon({ ...run, reason: "SIGINT came first" });
      expect(await store.jobs.get(jobId)).toMatchObject({ state: "cancelled" });
      expect(await store.runs.get(run.runId)).toMatchObject({ outcome: "cancelled", reason: "never_began", message: "SIGINT came first" });
      expect(await verbs.start({ ...run, process })).toBe(false);
    });

    test("a run of another session, or under another epoch, is nobody's here: nothing changes", async () => {
      const { store, verbs, opened } = await worldOn(open, door);
      const [mine, theirs] = [await opened(), await opened()];
      await verbs.start({ ...theirs.run, process });
      const before = await store.runs.get(theirs.run.runId);
      for (const run of [
        { ...theirs.run, workerId: mine.run.workerId },
        { ...theirs.run, ownerEpoch: asOwnerEpoch(2) },
      ]) {
        expect(await verbs.start({ ...run, process: command })).toBe(false);
        expect(await verbs.recordCommand({ ...run, process: command })).toBe(false);
        if (run.workerId === mine.run.workerId) expect((await verbs.renew(run)).lost).toContain("supervises the run");
      }
      expect(await verbs.end({ ...theirs.run, workerId: mine.run.workerId, exitCode: 0 })).toBe(false);
      expect(await store.runs.get(theirs.run.runId)).toEqual(before);
      expect(await verbs.renew(theirs.run), "its own session goes on").toEqual({ lost: null });
    });

    test("a worker's session is no command line's: refused, and it lives on", async () => {
      const { store, verbs } = await worldOn(open, door);
      await addItem(store);
      const workerId = await registerWorker(store);
      const { runId, ownerEpoch } = await claimOne(store, { workerId });
      const run = { workerId, runId, ownerEpoch };
      const said = await Promise.allSettled([
        verbs.start({ ...run, process }),
        verbs.recordCommand({ ...run, process: command }),
        verbs.renew(run),
        verbs.end({ ...run, exitCode: 0 }),
        verbs.abandon({ ...run, reason: "not wanted" }),
      ]);
      for (const each of said) expect(each).toMatchObject({ status: "rejected", reason: { code: "conflict" } });
      expect((await store.workers.get(workerId))?.state).toBe("live");
      expect((await store.runs.get(runId))?.state).toBe("reserved");
    });

    test("a session that is over ends nothing: how its command ended is read from its folder", async () => {
      const { store, verbs, opened } = await worldOn(open, door);
      const { run } = await opened();
      await verbs.start({ ...run, process });
      await store.workers.declareDead(run.workerId, { reason: "dead_pid", message: "gone", evidence: "{}", actor: "test" });
      expect(await verbs.renew(run)).toEqual({ lost: "its session is dead" });
      expect(await verbs.end({ ...run, exitCode: 0 })).toBe(false);
      expect((await store.runs.get(run.runId))?.state).toBe("started");
    });

    test("the daemon's successor knows its runs", async () => {
      const { store, verbs, opened, restart } = await worldOn(open, door);
      const { run } = await opened();
      await verbs.start({ ...run, process });
      const next = await restart();
      expect(await next.renew(run)).toEqual({ lost: null });
      expect(await next.end({ ...run, exitCode: 0 })).toBe(true);
      expect(present(await store.runs.get(run.runId))).toMatchObject({ state: "ended", outcome: "succeeded" });
    });
  });
});
