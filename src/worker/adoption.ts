import { messageOf } from "../domain/errors.ts";
import type { HostId, RunId } from "../domain/ids.ts";
import { addMs, type DurationMs, type Instant, seconds } from "../domain/time.ts";
import { explainAdoption, judgeAdoption, outcomeOfRequeue, type Requeue } from "../liveness/adoption-policy.ts";
import { spreadDelayMs } from "../liveness/retry-delay.ts";
import type { RunMemory } from "../liveness/run-policy.ts";
import { deadTicksNeeded, type RunThresholds } from "../liveness/run-thresholds.ts";
import { CachedProbe } from "../observe/cached-probe.ts";
import type { ObservedRun, RunObserver } from "../observe/run-evidence.ts";
import type { ProcessProbe } from "../processes/probe/identity.ts";
import { type Pause, timerPause } from "../runtime/pause.ts";
import type { RunEnder } from "../settling/run-ender.ts";
import type { LiveRun } from "../store/port/runs.ts";
import type { Store } from "../store/port/store.ts";
import type { Emit } from "../telemetry/events.ts";

export interface AdoptionDeps {
  readonly store: Pick<Store, "runs" | "workers" | "now">;
  readonly hostId: HostId;
  readonly observer: Pick<RunObserver, "observe" | "exitRecordOf">;
  readonly probe: ProcessProbe;
  readonly settings: {
    readonly thresholds: RunThresholds;
    /** False: runs that still live are stopped and queued again instead of adopted. */
    readonly adoption: boolean;
    /** Beyond 100 requeued runs, the jobs of the others come back spread over this long. */
    readonly recoverySpreadMs: DurationMs;
  };
  readonly ender: Pick<RunEnder, "end">;
  /** Carries on with a run. False: it cannot be, or another was first. */
  readonly adopt: (run: LiveRun, why: string) => Promise<boolean>;
  /** Stops processes of runs that the store does not hold, and answers how many. */
  readonly stopUnknown: () => Promise<number>;
  readonly emit: Emit;
  /** Between two looks at what seems dead. */
  readonly pause?: Pause | undefined;
}

export interface AdoptionReport {
  readonly adopted: number;
  /** Jobs that wait again, without those that their budget ended. */
  readonly requeued: number;
  readonly stopped: number;
}

const pageSize = 500;
/** Deaths that take longer to prove are left to the job-reaper, so that a start is not held up. */
const lookAgainWithinMs: DurationMs = seconds(5);

/**
 * At a start, adopts or requeues the command runs of this host that `judgeAdoption` decides about, then stops processes of runs that a
 * restored store does not know. Repeatable: the next start does what a killed one left.
 */
export async function adoptOrRequeue(deps: AdoptionDeps): Promise<AdoptionReport> {
  const looks = new StartLooks(deps);
  await looks.lookAtAll();
  await looks.lookAgain();
  const requeued = await requeueAll(looks.lost, deps);
  return { adopted: looks.adopted, requeued, stopped: await deps.stopUnknown() };
}

interface LostRun {
  readonly observed: ObservedRun;
  readonly requeue: Requeue;
  readonly judgedAt: Instant;
}

/** The looks of one start at the runs of its host: adopts at once what can be adopted, and remembers what ended. */
class StartLooks {
  readonly lost: LostRun[] = [];
  adopted = 0;
  readonly #deps: AdoptionDeps;
  readonly #memories = new Map<RunId, RunMemory>();
  #again: RunId[] = [];
  #conflicts: ReadonlySet<HostId> = new Set();

  constructor(deps: AdoptionDeps) {
    this.#deps = deps;
  }

  async lookAtAll(): Promise<void> {
    const { store, settings, hostId, probe } = this.#deps;
    this.#conflicts = new Set(await store.workers.listHostConflicts(addMs(store.now(), -settings.thresholds.deadAfterMs)));
    const answers = new CachedProbe(probe);
    let after: RunId | undefined;
    for (;;) {
      const page: readonly LiveRun[] = await store.runs.listAllLive({ limit: pageSize, hostId, after });
      for (const run of page) await this.#look(run, answers);
      after = page.at(-1)?.id;
      if (page.length < pageSize) return;
    }
  }

  /** Repeated as often as the thresholds ask, so that one wrong answer ends nothing. */
  async lookAgain(): Promise<void> {
    const { store, settings, probe, pause = timerPause } = this.#deps;
    const { thresholds } = settings;
    const looks = deadTicksNeeded(thresholds) - 1;
    if (looks * thresholds.suspectRecheckMs > lookAgainWithinMs) return;
    for (let look = 0; look < looks && this.#again.length > 0; look++) {
      await pause(thresholds.suspectRecheckMs);
      const ids = this.#again;
      this.#again = [];
      const answers = new CachedProbe(probe);
      for (let from = 0; from < ids.length; from += pageSize)
        for (const run of await store.runs.listLive(ids.slice(from, from + pageSize))) await this.#look(run, answers);
    }
  }

  async #look(run: LiveRun, answers: ProcessProbe): Promise<void> {
    const { observer, store, settings, adopt, emit } = this.#deps;
    try {
      const observed = await observer.observe(run, this.#conflicts, answers);
      const now = store.now();
      const { verdict, memory } = judgeAdoption(observed.facts, observed.evidence, this.#memories.get(run.id), settings, now);
      this.#memories.set(run.id, memory);
      if (verdict.kind === "look_again") this.#again.push(run.id);
      else if (verdict.kind === "requeue") this.lost.push({ observed, requeue: verdict, judgedAt: now });
      else if (verdict.kind === "adopt" && (await adopt(run, explainAdoption(verdict)))) this.adopted++;
    } catch (thrown) {
      tellFailed(run, thrown, emit);
    }
  }
}

/** The run is left to the job-reaper, like any other. */
function tellFailed(run: LiveRun, thrown: unknown, emit: Emit): void {
  emit("loop.subject_failed", { loop: "adoption", subject: `job ${run.jobId}`, message: messageOf(thrown) });
}

/** One event requeues all: how its jobs are spread depends on their number. */
async function requeueAll(lost: readonly LostRun[], deps: AdoptionDeps): Promise<number> {
  const { recoverySpreadMs } = deps.settings;
  let requeued = 0;
  for (const [index, one] of lost.entries()) {
    try {
      if (await requeue(one, spreadDelayMs({ index, total: lost.length, recoverySpreadMs }), deps)) requeued++;
    } catch (thrown) {
      tellFailed(one.observed.run, thrown, deps.emit);
    }
  }
  return requeued;
}

/** True: its job waits again. False: its budget, or another, has ended it. */
async function requeue({ observed, requeue, judgedAt }: LostRun, spreadMs: DurationMs, deps: AdoptionDeps): Promise<boolean> {
  const { run, evidence } = observed;
  // The last look before the flip: an exit recorded meanwhile outweighs any verdict, and the job-reaper reads it.
  if ((await deps.observer.exitRecordOf(run)).kind === "exit") return false;
  const failure = {
    outcome: outcomeOfRequeue(requeue),
    reason: requeue.reason,
    mayStillLive: requeue.mayStillLive,
    spreadMs,
    evidence: {
      verdict: requeue.verdict,
      judgedAt,
      process: evidence.process ?? null,
      lifePipe: evidence.lifePipe,
      exitRecord: evidence.exitRecord.kind,
      supervisor: run.supervisor,
    },
  };
  const ended = await deps.ender.end(run, failure, { actor: "adoption" });
  return ended.kind === "ended" && (ended.jobState === "queued" || ended.jobState === "scheduled");
}
