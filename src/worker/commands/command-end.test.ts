import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { stageOf } from "../../../test/support/stage-of.ts";
import { tempDir } from "../../../test/support/temp-dir.ts";
import { until } from "../../../test/support/until.ts";
import { asHostId, asJobId, asOwnerEpoch, asRunId, asWorkerId } from "../../domain/ids.ts";
import { asInstant } from "../../domain/time.ts";
import { dataPaths } from "../../files/data-paths.ts";
import type { GateAnswer } from "../../gates/gate-answer.ts";
import type { ProcessRow } from "../../processes/probe/process-stat.ts";
import { FakeClock } from "../../runtime/fake-clock.ts";
import type { EndAnswer, ExitReading } from "../worker-backend.ts";
import { CommandEnd } from "./command-end.ts";
import type { CommandRunDeps } from "./command-run-deps.ts";
import { OwnedRun } from "./owned-run.ts";
import { RunProcesses } from "./run-processes.ts";

// Files are read meanwhile, so only timers stand still.
beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] }));
afterEach(() => void vi.useRealTimers());

interface Scene {
  /** What the store answers to one reading after the other; then "ok". */
  readonly answers?: (EndAnswer | Error)[];
  readonly strays?: "stop" | "leave";
  readonly list?: () => readonly ProcessRow[];
}

/** The end of a command whose run folder shows nothing, before a store that a test plays. */
function ending({ answers = [], strays = "stop", list = () => [] }: Scene = {}) {
  const readings: ExitReading[] = [];
  const told: string[] = [];
  let over = 0;
  let now = 0;
  const stop = new AbortController();
  const gate: { read: () => Promise<GateAnswer> } = { read: async () => ({ kind: "green" }) };
  const host = {
    identity: { hostId: asHostId("h"), bootId: "b", pidNamespace: "n" },
    paths: dataPaths(tempDir("end")),
    clock: new FakeClock(),
    table: { list, look: () => ({ kind: "absent" }), lookMany: () => [], environmentValue: () => undefined },
  };
  const deps = {
    backend: {
      now: () => asInstant(now),
      reading: async (_workerId: unknown, reading: ExitReading) => {
        readings.push(reading);
        const answer = answers.shift() ?? { kind: "ok" };
        if (answer instanceof Error) throw answer;
        return answer;
      },
    },
    reader: { endedBy: async () => "code", output: async () => ({ kind: "none" }), gate: async () => await gate.read() },
    host,
    stop: { stopGraceMs: 0, killGraceMs: 0 },
    shielded: () => [],
    starts: { started: () => undefined },
    emit: (name: string, data: unknown) => void told.push(`${name} ${JSON.stringify(data)}`),
  } as unknown as CommandRunDeps;
  const run = new OwnedRun(deps, {
    runId: asRunId(7),
    jobId: asJobId(3),
    queue: "p/work",
    attempt: 1,
    ownerEpoch: asOwnerEpoch(1),
    itemId: null,
    stage: stageOf("work", { strays }),
    workerId: asWorkerId(2),
  });
  const processes = new RunProcesses(deps, run.runId);
  const end = new CommandEnd(deps, run, { processes, signal: stop.signal, onUnstarted: () => undefined, onOver: () => void over++ });
  return { end, readings, told, gate, stop, over: () => over, at: (ms: number) => (now = ms) };
}

const exited = { status: 0, writtenAtHostMs: 0 };

test("an exit is read and reported under its run's fence, and the run is over", async () => {
  const { end, readings, over, told } = ending();
  await end.begin({ ...exited, status: 3 });
  expect(readings).toMatchObject([
    { runId: 7, ownerEpoch: 1, straysLeft: false, endedBy: "code", gate: { kind: "not_read" }, evidence: { exitRecord: 3, command: null } },
  ]);
  expect([over(), told]).toEqual([1, []]);
});

test("a run that is to be read again is read at that instant, and not before", async () => {
  const { end, readings, over, at } = ending({ answers: [{ kind: "read", at: asInstant(5000) }] });
  at(1000);
  await end.begin(exited);
  await vi.advanceTimersByTimeAsync(3999);
  expect([readings.length, over()]).toEqual([1, 0]);
  await vi.advanceTimersByTimeAsync(1);
  expect([readings.length, over()]).toEqual([2, 1]);
});

test("a reading that the store refuses is told and tried again each second", async () => {
  const { end, readings, over, told } = ending({ answers: [new Error("the disk is full"), new Error("the disk is full")] });
  await end.begin(exited);
  await vi.advanceTimersByTimeAsync(1000);
  expect([readings.length, over()]).toEqual([2, 0]);
  await vi.advanceTimersByTimeAsync(1000);
  expect([readings.length, over()]).toEqual([3, 1]);
  expect(told).toEqual([
    'loop.subject_failed {"loop":"worker","subject":"run 7","message":"the disk is full"}',
    'loop.subject_failed {"loop":"worker","subject":"run 7","message":"the disk is full"}',
  ]);
});

test("left while its gate is read, it reports nothing: whoever takes the run over reads it again", async () => {
  const { end, readings, gate, stop, over } = ending();
  let reading = false;
  gate.read = () =>
    new Promise((resolve) => {
      reading = true;
      stop.signal.addEventListener("abort", () => resolve({ kind: "unreadable", error: "interrupted" }));
    });
  const ended = end.begin(exited);
  vi.useRealTimers();
  await until(() => reading);
  stop.abort();
  await ended;
  expect([readings, over()]).toEqual([[], 0]);
});

test("left while it waits to be read again, it is read no more", async () => {
  const { end, readings, stop } = ending({ answers: [{ kind: "read", at: asInstant(5000) }] });
  await end.begin(exited);
  stop.abort();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(readings).toHaveLength(1);
});

test("where nobody can look for strays the run may still be at work, and its job waits for the stopper's proof", async () => {
  const blind = () => {
    throw new Error("/proc is away");
  };
  const { end, readings, told } = ending({ list: blind });
  await end.begin(exited);
  expect(readings).toMatchObject([{ straysLeft: true }]);
  expect(told).toEqual(['loop.subject_failed {"loop":"worker","subject":"strays of run 7","message":"/proc is away"}']);
  const left = ending({ list: blind, strays: "leave" });
  await left.end.carryOn(0);
  expect([left.readings, left.told]).toMatchObject([[{ straysLeft: false }], []]);
});
