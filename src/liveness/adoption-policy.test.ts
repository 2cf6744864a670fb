import { describe, expect, test } from "vitest";
import { at, evidenceOf, processEvidence, runFacts } from "../../test/support/judged-run.ts";
import { type AdoptionVerdict, explainAdoption, judgeAdoption, outcomeOfRequeue } from "./adoption-policy.ts";
import type { RunEvidence, RunFacts } from "./evidence.ts";
import { emptyRunMemory, type RunMemory } from "./run-policy.ts";
import { defaultRunThresholds } from "./run-thresholds.ts";

const settings = { thresholds: defaultRunThresholds, adoption: true };
const off = { ...settings, adoption: false };

interface Look {
  readonly run?: Partial<RunFacts>;
  readonly seen?: Partial<RunEvidence>;
  readonly settings?: typeof settings;
  /** Of how many looks the last one answers. */
  readonly looks?: number;
  readonly seconds?: number;
}

/** At a start, `seconds` after the claim, with a supervisor that is dead unless the test says otherwise. */
function judged({ run = {}, seen = {}, looks = 1, seconds = 60, settings: by = settings }: Look = {}): AdoptionVerdict {
  let memory: RunMemory | undefined;
  let verdict: AdoptionVerdict | undefined;
  for (let look = 0; look < looks; look++) {
    const evidence = evidenceOf({ supervisor: "dead", ...seen });
    ({ verdict, memory } = judgeAdoption(runFacts(run), evidence, memory, by, at(seconds + look / 4)));
  }
  if (verdict === undefined) throw new Error("no look");
  return verdict;
}

const dead = { process: processEvidence("dead"), lifePipe: "released" } as const;
const deadWrapper = { process: processEvidence("dead", { role: "wrapper" }), lifePipe: "released" } as const;
const nobodyCanTell = { process: processEvidence("unknown", { unknownBecause: "probeFailed" }), lifePipe: "unknown" } as const;

test.each<[name: string, look: Look, verdict: object, text: string]>([
  [
    "an exit on disk is gone on with, whatever lives",
    { seen: { ...dead, exitRecord: { kind: "exit", status: 3 } } },
    { kind: "adopt", reason: "exit_on_record", exitCode: 3 },
    "its exit (3) is on record, its supervisor is dead",
  ],
  [
    "an exit in the store is",
    { run: { state: "exited", exitCode: 0, exitedAt: at(1) }, seen: dead },
    { kind: "adopt", reason: "exit_on_record", exitCode: 0 },
    "its exit (0) is on record, its supervisor is dead",
  ],
  [
    "its finalising steps are",
    { run: { state: "exited", exitCode: 0, exitedAt: at(1), hasFinaliseSteps: true }, seen: dead },
    { kind: "adopt", reason: "exit_on_record", exitCode: 0 },
    "its exit (0) is on record, its supervisor is dead",
  ],
  ["a living command is", {}, { kind: "adopt", reason: "process_alive", pid: 4242 }, "pid 4242 is alive, its supervisor is dead"],
  [
    "a held life pipe is, where the pid says nothing",
    { seen: { ...nobodyCanTell, lifePipe: "held" } },
    { kind: "adopt", reason: "life_pipe_held" },
    "its life pipe is held, its supervisor is dead",
  ],
  [
    "a held life pipe is, where no pid is on record",
    { seen: { process: undefined } },
    { kind: "adopt", reason: "life_pipe_held" },
    "its life pipe is held, its supervisor is dead",
  ],
  [
    "one dead look proves nothing",
    { seen: dead },
    { kind: "look_again", reason: "dead_pid", pid: 4242, streak: 1, of: 2, recheckAt: at(60.25) },
    "pid 4242 looks dead (1 of 2 looks)",
  ],
  [
    "two prove a death",
    { seen: dead, looks: 2 },
    { kind: "requeue", reason: "supervisor_dead", mayStillLive: false },
    "its supervisor died: dead pid 4242 (2 looks)",
  ],
  [
    "what it left behind may live, and is stopped first",
    { seen: { ...dead, lifePipe: "held" }, looks: 2 },
    { kind: "requeue", reason: "supervisor_dead", mayStillLive: true },
    "its supervisor died: dead pid 4242 (2 looks, strays of it still live)",
  ],
  [
    "an end that its wrapper writes down is left to be read",
    { seen: { ...dead, wrapper: "alive" }, looks: 2 },
    { kind: "leave", reason: "being_recorded", pid: 4242 },
    "pid 4242 is dead, and its wrapper is writing down how it ended",
  ],
  [
    "a dead wrapper had started nothing",
    { seen: deadWrapper, looks: 2 },
    { kind: "requeue", reason: "wrapper_dead", mayStillLive: true },
    "never started: its wrapper (pid 4242) died before a command started",
  ],
  [
    "a wrapper that got no word had not either, whatever lives",
    { seen: { exitRecord: { kind: "nogo" } } },
    { kind: "requeue", reason: "nogo", mayStillLive: false },
    "never started: its worker went away before it gave the word",
  ],
  [
    "an earlier boot ends it once its session is silent",
    { seen: { ...dead, process: processEvidence("otherBoot"), supervisor: "otherBoot" } },
    { kind: "requeue", reason: "supervisor_dead", mayStillLive: false },
    "its supervisor died: the host was started again; its session was last heard 60 s ago",
  ],
  [
    "another boot proves nothing while its session is heard",
    { seen: { ...dead, process: processEvidence("otherBoot"), supervisor: "otherBoot" }, seconds: 29 },
    { kind: "leave", reason: "supervisor_not_dead", supervisor: "otherBoot" },
    "its supervisor is not proved dead",
  ],
  [
    "nothing is proved on a host that is two",
    { seen: { hostConflict: true } },
    { kind: "leave", reason: "supervisor_not_dead", supervisor: "unknown" },
    "its supervisor is not proved dead",
  ],
  [
    "a living supervisor looks after its run itself",
    { seen: { ...dead, supervisor: "alive" }, looks: 2 },
    { kind: "leave", reason: "supervisor_not_dead", supervisor: "alive" },
    "its supervisor is alive",
  ],
  ["a handler ends with its host", { run: { kind: "handler" } }, { kind: "leave", reason: "handler" }, "a handler ends with its host"],
  [
    "a foreground command is nobody's to adopt",
    { run: { foreground: true } },
    { kind: "leave", reason: "foreground" },
    "a foreground command goes on by itself",
  ],
  [
    "a claim that nothing came of is the job-reaper's",
    { run: { state: "reserved" } },
    { kind: "leave", reason: "not_started" },
    "it has not started",
  ],
  [
    "of what cannot be probed nothing is said, however long it has been silent",
    { seen: nobodyCanTell, seconds: 4000 },
    { kind: "leave", reason: "no_proof" },
    "a limit has passed, but the watcher may not have heard the signs of life; looked at again",
  ],
  [
    "a limit that has passed is the job-reaper's",
    { run: { limits: { timeoutMs: 60_000 } }, seconds: 121 },
    { kind: "leave", reason: "limit_reached", verdict: { kind: "timed_out" } },
    "running for 121 s, timeout 60 s",
  ],
])("%s", (_name, look, verdict, text) => {
  expect(judged(look)).toMatchObject(verdict);
  expect(explainAdoption(judged(look))).toBe(text);
});

describe("with adoption off", () => {
  test.each<[name: string, look: Look, verdict: object, outcome: object]>([
    [
      "what lives is stopped and queued again",
      {},
      { reason: "adoption_off", mayStillLive: true, verdict: { kind: "orphaned_adopt", waitedMs: 0, limitMs: 30_000, recheckAt: at(90) } },
      { kind: "released", reason: "its supervisor died, and adoption is off" },
    ],
    [
      "what died with its daemon is queued again, and may have been the cause",
      { seen: dead, looks: 2 },
      { reason: "adoption_off", mayStillLive: false },
      { kind: "released", reason: "its supervisor died, and adoption is off: dead pid 4242 (2 looks)", bySessionDeath: true },
    ],
    [
      "what never began has never started",
      { seen: { exitRecord: { kind: "nogo" } } },
      { reason: "nogo", mayStillLive: false },
      { kind: "never_started", reason: "never started: its worker went away before it gave the word", bySessionDeath: true },
    ],
    [
      "no limit of its own keeps a run from the queue",
      { run: { limits: { timeoutMs: 1000, heartbeatTimeoutMs: 1000, maxRunningMs: 1000 } }, seconds: 100_000 },
      { reason: "adoption_off", mayStillLive: true },
      { kind: "released", reason: "its supervisor died, and adoption is off" },
    ],
  ])("%s", (_name, look, verdict, outcome) => {
    const found = judged({ ...look, settings: off });
    expect(found).toMatchObject({ kind: "requeue", ...verdict });
    expect(found.kind === "requeue" && outcomeOfRequeue(found)).toEqual(outcome);
  });

  test("an exit on record is gone on with all the same [1x]", () => {
    expect(judged({ seen: { exitRecord: { kind: "exit", status: 0 } }, settings: off })).toMatchObject({ kind: "adopt" });
  });
});

test("what is left to others costs no memory of looks, and starts none", () => {
  const leave = (memory?: RunMemory) => judgeAdoption(runFacts(), evidenceOf(), memory, settings, at(60)).memory;
  const memory = { deadStreak: 1, process: "4242/77" };
  expect([leave(memory), leave()]).toEqual([memory, emptyRunMemory]);
});

test("a command that is dead with its supervisor is lost; one that never began spends nothing", () => {
  const outcomes = [dead, deadWrapper].map((seen) => {
    const found = judged({ seen, looks: 2 });
    return found.kind === "requeue" ? outcomeOfRequeue(found) : found;
  });
  expect(outcomes).toEqual([
    { kind: "lost", reason: "its supervisor died: dead pid 4242 (2 looks)" },
    {
      kind: "never_started",
      reason: "never started: its wrapper (pid 4242) died before a command started",
      bySessionDeath: true,
    },
  ]);
});
