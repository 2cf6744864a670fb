import assert from "node:assert/strict";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { at, processEvidence, runFacts, wideAwake } from "../../test/support/judged-run.ts";
import { asOwnerEpoch, asRunId, type RunId } from "../domain/ids.ts";
import { asInstant, type Instant } from "../domain/time.ts";
import type { ExitEvidence, RunEvidence, RunFacts } from "./evidence.ts";
import { type GateReading, resolveExit } from "./exit-resolution.ts";
import { changeAfter, type JobChange, type Outcome, outcomeOfVerdict } from "./retry-contract.ts";
import { judgeRun, type RunMemory } from "./run-policy.ts";
import { defaultRunThresholds } from "./run-thresholds.ts";
import type { RunVerdict } from "./verdict.ts";

/**
 * A model of one job and all who may write about it: supervisors of any epoch, the reaper, messages late or twice. Of the store it
 * has what makes it safe: flips guarded by run id and owner epoch.
 */
interface ModelRun {
  readonly runId: RunId;
  state: "started" | "exited" | "ended";
  epoch: number;
  startedAt: Instant;
  exitedAt?: Instant;
  exitCode?: number;
  /** The truth about the process, which only probes tell. */
  processAlive: boolean;
  supervisorAlive: boolean;
  disk: ExitEvidence;
  settles: number;
  /** The owner epoch of whoever settled it. */
  settledBy?: number;
}

/** What follows for the job, and whether its item is to move on with it. */
type Change = JobChange & { readonly advances?: boolean };

/** What a supervisor holds in its hand: it may be long outdated when it arrives. */
interface Token {
  readonly runId: RunId;
  readonly epoch: number;
}

class World {
  now: Instant = at(0);
  job: { state: "queued" | "running" | "done" | "failed" | "held" | "cancelled"; attempts: number; losses: number } = {
    state: "queued",
    attempts: 0,
    losses: 0,
  };
  stage: "pending" | "past" = "pending";
  advances = 0;
  readonly runs: ModelRun[] = [];
  readonly tokens: Token[] = [];
  readonly verdicts: { readonly token: Token; readonly verdict: RunVerdict }[] = [];
  memories = new Map<RunId, RunMemory>();
  gate: GateReading = { kind: "green" };

  get current(): ModelRun | undefined {
    return this.runs.at(-1);
  }

  claim(): void {
    if (this.job.state !== "queued") return;
    const runId = asRunId(this.runs.length + 1);
    this.job = { ...this.job, state: "running", attempts: this.job.attempts + 1 };
    const life = { processAlive: true, supervisorAlive: true, disk: { kind: "none" } as const, settles: 0 };
    this.runs.push({ runId, state: "started", epoch: 1, startedAt: this.now, ...life });
    this.tokens.push({ runId, epoch: 1 });
  }

  /** The command ends: its wrapper writes the record, or is killed with it. */
  endProcess(status: number, recorded: boolean): void {
    const run = this.current;
    if (run?.processAlive !== true) return;
    run.processAlive = false;
    run.disk = recorded ? { kind: "exit", status } : { kind: "torn" };
  }

  recordExit(token: Token): void {
    const run = this.find(token);
    if (run?.state !== "started" || run.disk.kind !== "exit") return;
    run.state = "exited";
    run.exitCode = run.disk.status;
    run.exitedAt = this.now;
  }

  /** The fence: only the present owner of a run that has not ended. */
  find(token: Token): ModelRun | undefined {
    const run = this.runs.find((candidate) => candidate.runId === token.runId);
    return run !== undefined && run.epoch === token.epoch && run.state !== "ended" ? run : undefined;
  }

  /** Flip and everything that follows, in one step; whoever loses the flip changes nothing. */
  settle(token: Token, { advances = false, ...change }: Change): boolean {
    const run = this.find(token);
    if (run === undefined) return false;
    assert.equal(this.job.state, "running");
    run.state = "ended";
    run.settles += 1;
    run.settledBy = token.epoch;
    // Of no interest here: what is scheduled waits for its time first.
    const state = change.to === "scheduled" ? "queued" : change.to;
    this.job = { state, attempts: change.attempts, losses: change.losses };
    if (advances && this.stage === "pending") {
      this.stage = "past";
      this.advances += 1;
    }
    return true;
  }

  finalise(token: Token): boolean {
    const run = this.runs.find((candidate) => candidate.runId === token.runId);
    // A late finaliser goes by what it once saw, not by what the store says now.
    if (run?.disk.kind !== "exit") return false;
    return this.settle(token, this.changeForExit(run.disk.status));
  }

  takeOver(token: Token): void {
    const run = this.find(token);
    if (run === undefined) return;
    run.epoch += 1;
    run.supervisorAlive = true;
    this.tokens.push({ runId: run.runId, epoch: run.epoch });
  }

  changeForExit(exitCode: number): Change {
    const { now, gate, stage: position } = this;
    const resolution = resolveExit({ exitCode, policy: {}, position, gate, gatePatienceMs: 0, now });
    if (resolution.kind === "done") return { ...this.changeFor({ kind: "succeeded", reason: "" }), advances: resolution.advance };
    assert.equal(resolution.kind, "retry_contract");
    return this.changeFor(resolution.outcome);
  }

  changeFor(outcome: Outcome): Change {
    const budget = { ...this.job, maxAttempts: 3, maxLosses: null, lastLossAt: null };
    const job = { budget, counted: true, sessionDeaths: 0, ofItem: true, foreground: false };
    const policy = { onExhausted: "fail", delay: { baseMs: 0, maxMs: 0 } } as const;
    return changeAfter(outcome, job, { policy, jitter: 0 }, this.now);
  }

  /** Observes and judges; the verdict is kept, for it may be acted on much later, or twice. */
  tick(): void {
    const run = this.current;
    if (run === undefined || run.state === "ended") return;
    const { verdict, memory } = judgeRun(
      this.factsOf(run, run.state),
      evidenceOf(run, this.now),
      this.memories.get(run.runId),
      defaultRunThresholds,
      wideAwake,
      this.now,
    );
    this.memories.set(run.runId, memory);
    this.verdicts.push({ token: { runId: run.runId, epoch: run.epoch }, verdict });
  }

  act(of: { readonly token: Token; readonly verdict: RunVerdict }): void {
    const { token, verdict } = of;
    const outcome = outcomeOfVerdict(verdict);
    if (outcome !== undefined) this.settle(token, this.changeFor(outcome));
    else if (verdict.kind === "record_exit") this.recordExit(token);
    else if (verdict.kind === "orphaned_adopt" || verdict.kind === "take_over") this.takeOver(token);
    else if (verdict.kind === "exited_known") this.settle(token, this.changeForExit(verdict.exitCode));
    else if (verdict.kind === "over_age" && verdict.exitCode !== undefined) this.settle(token, this.changeForExit(verdict.exitCode));
  }

  factsOf(run: ModelRun, state: "started" | "exited"): RunFacts {
    return runFacts({
      runId: run.runId,
      ownerEpoch: asOwnerEpoch(run.epoch),
      state,
      reservedAt: run.startedAt,
      startedAt: run.startedAt,
      exitedAt: run.exitedAt,
      exitCode: run.exitCode,
      session: { heardAt: run.supervisorAlive ? this.now : run.startedAt, channel: "throughMe" },
      limits: { timeoutMs: 600_000, maxRunningMs: 2_000_000 },
    });
  }
}

const evidenceOf = (run: ModelRun, now: Instant): RunEvidence => ({
  process: processEvidence(run.processAlive ? "alive" : "dead"),
  lifePipe: run.processAlive ? "held" : "released",
  exitRecord: run.disk,
  supervisor: run.supervisorAlive ? "alive" : "dead",
  report: { kind: "holds", at: now },
  hostConflict: false,
});

type Step = (world: World) => void;
/** One of many by a number, so that old tokens and old verdicts come up as often as new ones. */
const pick = <T>(from: readonly T[], n: number): T | undefined => from[n % Math.max(1, from.length)];
const withToken = (act: (world: World, token: Token) => void) =>
  fc.nat(30).map(
    (n): Step =>
      (world) => {
        const token = pick(world.tokens, n);
        if (token !== undefined) act(world, token);
      },
  );

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.constant<Step>((world) => world.claim()),
  fc.record({ status: fc.constantFrom(0, 0, 1, 137), recorded: fc.boolean() }).map(
    ({ status, recorded }): Step =>
      (world) =>
        world.endProcess(status, recorded),
  ),
  withToken((world, token) => world.recordExit(token)),
  withToken((world, token) => world.finalise(token)),
  withToken((world, token) => world.takeOver(token)),
  withToken((world, token) => world.settle(token, world.changeFor({ kind: "cancelled", reason: "by hand" }))),
  fc.constant<Step>((world) => {
    const run = world.current;
    if (run !== undefined) run.supervisorAlive = false;
  }),
  fc.constant<Step>((world) => world.tick()),
  fc.constant<Step>((world) => world.tick()),
  fc.nat(30).map(
    (n): Step =>
      (world) => {
        const of = pick(world.verdicts, n);
        if (of !== undefined) world.act(of);
      },
  ),
  // The reaper's process starts anew: what it remembered is gone.
  fc.constant<Step>((world) => world.memories.clear()),
  fc.integer({ min: 1, max: 400_000 }).map(
    (ms): Step =>
      (world) => {
        world.now = asInstant(world.now + ms);
      },
  ),
  fc.constantFrom<GateReading>({ kind: "green" }, { kind: "red", reason: "x" }, { kind: "unreadable", error: "x" }).map(
    (gate): Step =>
      (world) => {
        world.gate = gate;
      },
  ),
);

function check(world: World): void {
  for (const run of world.runs) {
    expect(run.settles).toBeLessThanOrEqual(1);
    // Who was taken over has no say any more, however late it hears of it.
    if (run.settledBy !== undefined) expect(run.settledBy).toBe(run.epoch);
  }
  expect(world.advances).toBeLessThanOrEqual(1);
  expect(world.runs.filter((run) => run.state !== "ended").length).toBe(world.job.state === "running" ? 1 : 0);
  if (world.job.state === "done") expect(world.runs.at(-1)?.disk).toEqual({ kind: "exit", status: 0 });
  if (world.advances > 0) expect(world.job.state).toBe("done");
}

describe("a model of the rules, with the store reduced to its guarded flips: the store itself is proved in test/conformance and test/simulation", () => {
  test("no order of ticks, late finalisers, take-overs, restarts and duplicates settles the model's run twice or advances twice", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 120 }), (steps) => {
        const world = new World();
        world.claim();
        for (const take of steps) {
          take(world);
          check(world);
        }
      }),
      { numRuns: 400 },
    );
  });

  test("whatever happened before, honest ticks alone bring the model's job to an end or back into the queue", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const world = new World();
        world.claim();
        for (const take of steps) take(world);
        // From here on nobody but the reaper lives.
        const { current } = world;
        if (current !== undefined) {
          current.processAlive = false;
          current.supervisorAlive = false;
        }
        for (let tick = 0; tick < 5 && world.job.state === "running"; tick += 1) {
          world.now = asInstant(world.now + 1000);
          world.tick();
          const last = world.verdicts.at(-1);
          if (last !== undefined) world.act(last);
        }
        expect(world.job.state).not.toBe("running");
        check(world);
      }),
      { numRuns: 300 },
    );
  });

  test("the late settle of an ended run finds nothing to change in the model, and says so", () => {
    const world = new World();
    world.claim();
    world.endProcess(0, true);
    world.tick();
    const [recorded] = world.verdicts;
    if (recorded !== undefined) world.act(recorded);
    const token = { runId: asRunId(1), epoch: 1 };
    expect(world.settle(token, world.changeFor({ kind: "lost", reason: "requeued by another" }))).toBe(true);
    const before = structuredClone(world.job);
    expect(world.finalise(token)).toBe(false);
    expect([world.job, world.advances]).toEqual([before, 0]);
  });
});
