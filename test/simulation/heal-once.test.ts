import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { RunId, WorkerId } from "../../src/domain/ids.ts";
import { addMs } from "../../src/domain/time.ts";
import { itemDirOf, runDirOf } from "../../src/files/data-paths.ts";
import { settlementOfFailure, settlementOfSuccess } from "../../src/settling/settlement.ts";
import type { LiveRun, Settlement } from "../../src/store/port/runs.ts";
import { chain } from "../support/loop-world.ts";
import { RepairWorld, type StartedRun } from "../support/repair-world.ts";

const happenings = [
  "claim",
  "command dies",
  "command exits",
  "supervisor dies",
  "late finaliser",
  "take-over",
  "reaper ticks",
  "worker-reaper ticks",
  "stopper ticks",
  "restart",
  "time passes",
  "much time passes",
  "gate turns",
  "killed over a settlement",
] as const;

/** What happens next, and a number that chooses to which run and how. */
type Happening = readonly [what: (typeof happenings)[number], pick: number];

const limits = { maxRunningMs: 3_600_000 };
const queues = ["s/first", "s/second", "dev"];
const finalStates = ["done", "failed", "held", "cancelled"];

/** One store with its daemons and supervisors in turn; processes live and die as the test says. */
class Simulation {
  readonly world: RepairWorld;
  readonly gates: { readonly path: string; green: boolean }[] = [];
  /** Won flips of each run, and advances of each visit. */
  readonly settled = new Map<RunId, number>();
  readonly advanced = new Map<number, number>();
  /** The runs as supervisors remember them, possibly long outdated. */
  readonly #held: { readonly run: StartedRun; readonly live: LiveRun }[] = [];
  #workers = 0;
  #supervisor: { readonly workerId: WorkerId; readonly pid: number } | undefined;

  private constructor(world: RepairWorld) {
    this.world = world;
    const { settle } = world.seen.runs;
    world.seen.runs.settle = async (settlements) => {
      const answers = await settle(settlements);
      for (const [at, settlement] of settlements.entries()) if (answers[at]?.kind === "ok") await this.#count(settlement);
      return answers;
    };
    world.adopt = async (run, reason) => {
      const { workerId } = await this.#living();
      const checkAt = addMs(world.now, limits.maxRunningMs);
      const fence = { runId: run.id, ownerEpoch: run.ownerEpoch };
      return (await world.store.runs.takeOver({ ...fence, workerId, actor: "worker", reason, checkAt })) !== undefined;
    };
  }

  static async open(): Promise<Simulation> {
    const gate = { kind: "file", path: "green", anyAge: true } as const;
    const stage = { gate, attempts: 3, maxLosses: 6, retry: { minMs: 1000, maxMs: 2000, factor: 2 }, gatePatienceMs: 5000 };
    const simulation = new Simulation(await RepairWorld.open([chain("s", ["first", "second"], { stage })], { inMemory: true }));
    const { world, gates } = simulation;
    for (const key of ["a", "b"]) {
      const { dir } = await world.addItem("s", key);
      gates.push({ path: join(itemDirOf(world.world.paths, dir), "green"), green: false });
    }
    await world.store.jobs.enqueue({ queue: "dev", maxAttempts: 3, jobs: [{}, {}] });
    return simulation;
  }

  async happen([what, pick]: Happening): Promise<void> {
    const { world } = this;
    const live = await world.store.runs.listAllLive({ limit: 100 });
    const run = live[pick % Math.max(1, live.length)];
    const started = this.#held.find((each) => each.run.runId === run?.id)?.run;
    switch (what) {
      case "claim":
        await this.#claim(pick);
        break;
      case "command dies":
        if (started !== undefined) world.die(started);
        break;
      case "command exits":
        if (started === undefined || run?.state !== "started") break;
        world.leaveRecord(started, pick % 3 === 0 ? 1 : 0);
        world.die(started);
        break;
      case "supervisor dies":
        this.#supervisorDies();
        break;
      case "late finaliser":
        await this.#finaliseLate(pick);
        break;
      case "take-over":
        if (run?.supervisor && run.state !== "reserved" && world.probe.observe(run.supervisor.process).kind === "dead")
          await world.adopt(run, "simulated");
        break;
      case "reaper ticks":
        await world.tick();
        break;
      case "worker-reaper ticks":
        await world.tickWorkers();
        break;
      case "stopper ticks":
        await world.stopBlocked();
        break;
      case "restart":
        world.restart();
        break;
      case "time passes":
        world.advance(250);
        break;
      case "much time passes":
        world.advance(40_000);
        await world.store.jobs.promoteDue(100);
        break;
      case "gate turns":
        this.#turnGate(pick);
        break;
      case "killed over a settlement":
        await this.#killedOverSettlement();
        break;
    }
  }

  /** The loops, and workers that now succeed, must bring every job to an end. */
  async comeToRest(): Promise<void> {
    const { world } = this;
    for (const { path } of this.gates) writeFileSync(path, "green");
    for (let round = 0; round < 80 && (await this.unfinished()).length > 0; round++) {
      for (let at = 0; at < queues.length; at++) await this.#claim(1 + at + 3 * 35 * round);
      for (const run of await world.store.runs.listAllLive({ limit: 100 })) {
        const started = this.#held.find((each) => each.run.runId === run.id)?.run;
        if (started === undefined || run.state !== "started") continue;
        world.leaveRecord(started, 0);
        world.die(started);
      }
      this.#supervisorDies();
      await world.tickWorkers();
      await world.tick();
      await world.tick();
      await world.stopBlocked();
      world.advance(40_000);
      await world.store.jobs.promoteDue(100);
    }
  }

  async unfinished() {
    const jobs = await this.world.store.upkeep.listJobs({ limit: 1000 });
    return jobs.filter((job) => job.blockedBy !== null || !finalStates.includes(job.state));
  }

  async #count(settlement: Settlement): Promise<void> {
    this.settled.set(settlement.runId, (this.settled.get(settlement.runId) ?? 0) + 1);
    if (settlement.outcome !== "succeeded" || settlement.advance === undefined) return;
    const visitId = (await this.world.store.jobs.get(settlement.jobId))?.visitId;
    if (visitId) this.advanced.set(visitId, (this.advanced.get(visitId) ?? 0) + 1);
  }

  async #living(): Promise<{ readonly workerId: WorkerId; readonly pid: number }> {
    if (this.#supervisor === undefined) {
      this.#workers++;
      const pid = 50 + this.#workers;
      this.#supervisor = { workerId: await this.world.worker({ pid }), pid };
    }
    return this.#supervisor;
  }

  #supervisorDies(): void {
    if (this.#supervisor !== undefined) this.world.probe.set(this.#supervisor.pid, "dead");
    this.#supervisor = undefined;
  }

  async #claim(pick: number): Promise<void> {
    const { world } = this;
    const { workerId } = await this.#living();
    const claimed = await world.claim(queues[pick % queues.length] ?? "dev", { workerId, limits });
    // A worker may die between its claim and its start.
    if (claimed === undefined || pick % 5 === 0) return;
    const { runId, jobId, ownerEpoch } = claimed;
    const pid = 100_000 + (runId % 100_000);
    const wrapperPid = pid + 100_000;
    mkdirSync(runDirOf(world.world.paths, runId), { recursive: true });
    const startedAt = world.now;
    const checkAt = addMs(startedAt, limits.maxRunningMs);
    const [answer] = await world.store.runs.start([
      { runId, ownerEpoch, startedAt, wrapper: world.processOf(wrapperPid), limits, checkAt },
    ]);
    if (answer?.kind !== "ok") return;
    if (pick % 7 !== 0) await world.store.runs.recordProcess({ runId, ownerEpoch, process: world.processOf(pid) });
    const [live] = await world.store.runs.listLive([runId]);
    if (live !== undefined) this.#held.push({ run: { runId, jobId, ownerEpoch, pid, wrapperPid }, live });
  }

  /** A supervisor acts on an outdated run: it records an exit, and mostly settles. */
  async #finaliseLate(pick: number): Promise<void> {
    const { world } = this;
    const live = this.#held[pick % Math.max(1, this.#held.length)]?.live;
    if (live === undefined) return;
    const exitCode = pick % 2;
    await world.store.runs.recordExit({ runId: live.id, ownerEpoch: live.ownerEpoch, exitCode, checkAt: addMs(world.now, 300_000) });
    if (pick % 4 === 3) return;
    const { registry } = world.world;
    const context = { registry, random: () => 0.5, actor: "worker" };
    const advance = live.pipeline === null || live.itemStage === null ? undefined : registry.advanceFrom(live.pipeline, live.itemStage);
    const details = { reason: "exit_code", exitCode };
    const settlement =
      exitCode === 0
        ? settlementOfSuccess(live, { advance, output: undefined, details }, context)
        : settlementOfFailure(live, { kind: "failed", reason: "exit code 1" }, details, context);
    // Rejected if another exit is on record: a failure cannot become a success.
    await world.seen.runs.settle([settlement]).catch(() => undefined);
  }

  #turnGate(pick: number): void {
    const gate = this.gates[pick % this.gates.length];
    if (gate === undefined) return;
    gate.green = !gate.green;
    if (gate.green) writeFileSync(gate.path, "green");
    else rmSync(gate.path);
  }

  /** A flip is committed and the daemon dies before the answer: the next daemon knows only the store. */
  async #killedOverSettlement(): Promise<void> {
    const { world } = this;
    const { settle } = world.seen.runs;
    world.seen.runs.settle = async (settlements) => {
      await settle(settlements);
      throw new Error("killed");
    };
    await world.tick();
    await world.tickWorkers();
    world.seen.runs.settle = settle;
    world.restart();
  }
}

/** How often each happens relative to the others, so that much is under way at any time. */
const weights: Partial<Record<Happening[0], number>> = {
  claim: 8,
  "reaper ticks": 6,
  "time passes": 3,
  "command dies": 2,
  "command exits": 3,
  "late finaliser": 3,
};
const next = fc.oneof(
  ...happenings.map((what) => ({ weight: weights[what] ?? 1, arbitrary: fc.tuple(fc.constant(what), fc.nat({ max: 1000 })) })),
);
const sequences = fc.array(next, { minLength: 40, maxLength: 120, size: "max" });
const repeated = (counts: ReadonlyMap<number, number>) => [...counts].filter(([, times]) => times > 1);

test("in any order of deaths, late results, take-overs and restarts each run settles once, each visit advances once, and no job stays behind [B-65]", async () => {
  await fc.assert(
    fc.asyncProperty(sequences, async (sequence) => {
      const simulation = await Simulation.open();
      const { store } = simulation.world;
      for (const happening of sequence) await simulation.happen(happening);
      expect(await store.upkeep.checkInvariants()).toEqual([]);
      await simulation.comeToRest();
      expect(await simulation.unfinished()).toEqual([]);
      expect(repeated(simulation.settled)).toEqual([]);
      expect(repeated(simulation.advanced)).toEqual([]);
      expect(await store.upkeep.checkInvariants()).toEqual([]);
      for (const item of await store.items.list({ limit: 10 })) {
        const stages = (await store.items.visits(item.id)).map((visit) => visit.stage);
        expect(new Set(stages).size).toBe(stages.length);
      }
    }),
    { numRuns: 30 },
  );
});
