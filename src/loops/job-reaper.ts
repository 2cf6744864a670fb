import { messageOf } from "../domain/errors.ts";
import type { HostId, RunId } from "../domain/ids.ts";
import { addMs, type DurationMs, type Instant } from "../domain/time.ts";
import { outcomeOfVerdict, type RunOutcome } from "../liveness/outcome-policy.ts";
import { emptyRunMemory, forgetEnded, judgeRun, type RunMemory } from "../liveness/run-policy.ts";
import type { RunThresholds } from "../liveness/run-thresholds.ts";
import { checkAgainAt, explain, mayStillLive, type RunVerdict } from "../liveness/verdict.ts";
import type { PipelineRegistry } from "../pipelines/registry.ts";
import type { ProcessProbe } from "../processes/identity.ts";
import type { LiveRun, Settlement } from "../store/port/runs.ts";
import type { Store } from "../store/store.ts";
import type { Finaliser } from "../worker/finaliser.ts";
import { neverStartedDeathsBefore, type SettlingContext, settlementOfFailure } from "../worker/settling.ts";
import type { LeaseSweep } from "./lease-sweep.ts";
import { LookAtAll } from "./look-at-all.ts";
import { type Loop, nothingSeen, type TickContext, type TickReport } from "./loop.ts";
import { LossSpread } from "./loss-spread.ts";
import type { ObservedRun, RunObserver } from "./run-evidence.ts";
import { TickProbe } from "./tick-probe.ts";
import type { Watcher } from "./watcher.ts";

export interface JobReaperDeps {
  readonly store: Pick<Store, "runs" | "workers" | "now">;
  readonly observer: RunObserver;
  readonly probe: ProcessProbe;
  readonly hostId: HostId;
  readonly watcher: Watcher;
  readonly registry: PipelineRegistry;
  readonly finaliser: Finaliser;
  readonly leaseSweep: LeaseSweep;
  readonly random: () => number;
  /** All read anew at each tick. */
  readonly settings: () => ReaperSettings;
  /** Carries on with a living run whose supervisor is proved dead; false when it cannot, or somebody else was first. */
  readonly adopt: (run: LiveRun, why: string) => Promise<boolean>;
}

export interface ReaperSettings {
  readonly enabled: boolean;
  readonly thresholds: RunThresholds;
  readonly adoption: boolean;
  /** Stop grace + kill grace + 10 s: how long the stopper may take before a block needs a person. */
  readonly stopWithinMs: DurationMs;
  /** Where more than 100 runs of a host are lost together, the jobs of those beyond come back spread over this long. */
  readonly recoverySpreadMs: DurationMs;
}

const pageSize = 500;
/** Verdicts that one event, such as the loss of a host, may bring to many runs at once. */
const lostTogether: ReadonlySet<RunVerdict["kind"]> = new Set(["dead", "never_started", "stop_then_dead"]);

/**
 * Judges runs that are due or look dead, settles what its verdicts ask for, and sweeps leases in the same tick.
 * Its only write to a job is the fenced flip, with what follows from it in the same transaction.
 */
export class JobReaper implements Loop {
  readonly name = "job-reaper";
  readonly #deps: JobReaperDeps;
  readonly #memories = new Map<RunId, RunMemory>();
  /** Runs whose gate is being read outside the tick. */
  readonly #finalising = new Map<RunId, Promise<void>>();
  #conflicts: ReadonlySet<HostId> = new Set();
  /** Whether no stored check is later than the thresholds of this start allow. */
  #checksAreOurs = false;
  readonly #all = new LookAtAll();
  readonly #spread = new LossSpread();
  #reapedTotal = 0;
  #lastReaped: { readonly job_id: number; readonly agent: string | null; readonly outcome: string } | null = null;

  constructor(deps: JobReaperDeps) {
    this.#deps = deps;
  }

  /** The lease sweep has a switch of its own, so the tick goes on without the scan. */
  readonly ticksWhenDisabled = true;

  /** The switch of the job scan. */
  enabled(): boolean {
    return this.#deps.settings().enabled;
  }

  details(): Readonly<Record<string, unknown>> {
    return {
      // Names of the wire that its operators know.
      reaped_total: this.#reapedTotal,
      last_reaped: this.#lastReaped,
      lease_reclaimed_total: this.#deps.leaseSweep.reclaimedTotal,
      suspects: this.#memories.size,
    };
  }

  async tick(context: TickContext): Promise<TickReport> {
    let report: TickReport = nothingSeen;
    try {
      if (this.enabled()) report = await this.#scan(context);
    } finally {
      // A failing scan must not keep leases: the sweep has evidence of its own.
      const would: string[] = [];
      const reclaimed = await this.#deps.leaseSweep.sweep(context, would);
      report = { ...report, settled: report.settled + reclaimed };
      if (context.dryRun) report = { ...report, would: [...(report.would ?? []), ...would] };
    }
    return report;
  }

  /** Resolves when no gate is being read for a verdict any more. */
  async idle(): Promise<void> {
    while (this.#finalising.size > 0) await Promise.all(this.#finalising.values());
  }

  async #scan(context: TickContext): Promise<TickReport> {
    const { store, observer } = this.#deps;
    const probe = new TickProbe(this.#deps.probe);
    const conflicts = await this.#hostConflicts(context);
    if (!context.dryRun) await this.#bringChecksForward();
    const due = await store.runs.listDue({ now: context.now, limit: pageSize });
    const suspects = await this.#runsToLookAt(due, probe);
    const others = context.dryRun ? [] : await this.#all.next(this.#deps, [...due, ...suspects]);
    const tick = new ReaperTick();
    for (const run of [...due, ...suspects, ...others]) {
      if (context.signal.aborted) break;
      if (this.#finalising.has(run.id)) continue;
      tick.seen++;
      try {
        await this.#judge(await observer.observe(run, conflicts, probe), tick, context);
      } catch (thrown) {
        // One run's failure leaves that run as it was, and the others are still handled.
        tick.failed++;
        context.emit("loop.subject_failed", { loop: this.name, subject: `job ${run.jobId}`, message: messageOf(thrown) });
      }
    }
    await this.#endLost(tick, context);
    if (!context.dryRun) await store.runs.moveChecks(tick.checks);
    const more = due.length === pageSize || this.#all.underWay ? 0 : undefined;
    if (more === undefined) this.#spread.over();
    const nextInMs = more ?? (tick.recheckAt === undefined ? undefined : Math.max(1, tick.recheckAt - context.now));
    return {
      seen: tick.seen,
      settled: tick.settled,
      lost: tick.lost,
      failed: tick.failed,
      ...(nextInMs === undefined ? {} : { nextInMs }),
      ...(context.dryRun ? { would: tick.would } : {}),
    };
  }

  /** The daemon before this one may have set a run's next look by longer thresholds, up to a day ahead. Later changes: {@link LookAtAll}. */
  async #bringChecksForward(): Promise<void> {
    if (this.#checksAreOurs) return;
    await this.#deps.store.runs.bringChecksForward(this.#deps.settings().thresholds);
    this.#checksAreOurs = true;
  }

  /** An event for each host that turns out to be two, not for each tick in which it still is. */
  async #hostConflicts(context: TickContext): Promise<ReadonlySet<HostId>> {
    const heardSince = addMs(context.now, -this.#deps.settings().thresholds.deadAfterMs);
    const conflicts = new Set(await this.#deps.store.workers.listHostConflicts(heardSince));
    for (const hostId of conflicts) if (!this.#conflicts.has(hostId)) context.emit("host.conflict_found", { hostId });
    this.#conflicts = conflicts;
    return conflicts;
  }

  /**
   * Beside what is due: the live command runs of this host whose process is not plainly alive, and all of which something is remembered,
   * so that one live answer takes a streak back. What is remembered of runs that have ended is dropped.
   */
  async #runsToLookAt(due: readonly LiveRun[], probe: ProcessProbe): Promise<readonly LiveRun[]> {
    const { store, hostId } = this.#deps;
    const local = await store.runs.listLocalProcesses(hostId);
    const lives = probe.observeMany(local.map(({ process }) => process));
    const isDue = new Set(due.map((run) => run.id));
    const wanted = new Set(this.#memories.keys());
    for (const [at, { runId }] of local.entries()) if (lives[at]?.kind !== "alive") wanted.add(runId);
    const ids = [...wanted].filter((runId) => !isDue.has(runId));
    const runs: LiveRun[] = [];
    for (let from = 0; from < ids.length; from += pageSize) runs.push(...(await store.runs.listLive(ids.slice(from, from + pageSize))));
    forgetEnded(this.#memories, new Set([...isDue, ...runs.map((run) => run.id)]));
    return runs;
  }

  async #judge(observed: ObservedRun, tick: ReaperTick, context: TickContext): Promise<void> {
    const { run, facts, evidence } = observed;
    const { thresholds, adoption } = this.#deps.settings();
    const view = this.#deps.watcher.view("workers");
    const { verdict, memory } = judgeRun(facts, evidence, this.#memories.get(run.id) ?? emptyRunMemory, thresholds, view, context.now);
    if (context.dryRun) {
      // It judges like a tick and is none: a look that may do nothing must not bring a death nearer.
      if (verdict.kind !== "leave_alone") tick.would.push(`job ${run.jobId}, attempt ${run.attempt}: ${explain(verdict)}`);
      return;
    }
    if (memory.deadStreak > 0 || memory.orphanedSince !== undefined) this.#memories.set(run.id, memory);
    else this.#memories.delete(run.id);
    const ref = { runId: run.id, jobId: run.jobId, queue: run.queue };
    switch (verdict.kind) {
      case "leave_alone":
        break;
      case "suspect":
        context.emit("run.suspected", { ...ref, streak: verdict.streak, of: verdict.of, pid: verdict.pid });
        break;
      case "defer":
        context.emit("run.deferred", { ...ref, reason: explain(verdict) });
        break;
      case "orphaned_adopt":
        if (adoption && (await this.#deps.adopt(run, explain(verdict)))) {
          this.#memories.delete(run.id);
          return;
        }
        break;
      case "record_exit":
        await this.#recordExit(run, verdict.status, context);
        return;
      case "exited_known":
      case "take_over":
        this.#finalise(observed, verdict, context);
        return;
      case "over_age":
        if (verdict.exitCode !== undefined) {
          this.#finalise(observed, verdict, context);
          return;
        }
        await this.#end(observed, verdict, tick, context);
        return;
      default:
        // How many are lost together is known when all were judged.
        if (lostTogether.has(verdict.kind)) tick.losses.push({ observed, verdict });
        else await this.#end(observed, verdict, tick, context);
        return;
    }
    const checkAt = checkAgainAt(verdict);
    if (checkAt === undefined) return;
    tick.checks.push({ runId: run.id, ownerEpoch: run.ownerEpoch, checkAt });
    if (verdict.kind === "suspect" || verdict.kind === "orphaned_adopt") tick.recheckNotAfter(checkAt);
  }

  /** The exit goes into the store before anything is done with it; its supervisor, if it lives, takes it from there. */
  async #recordExit(run: LiveRun, status: number, context: TickContext): Promise<void> {
    const checkAt = addMs(context.now, this.#graceOf(run));
    const answer = await this.#deps.store.runs.recordExit({ runId: run.id, ownerEpoch: run.ownerEpoch, exitCode: status, checkAt });
    this.#memories.delete(run.id);
    if (answer.kind !== "ok") return;
    context.emit("run.exited", { runId: run.id, jobId: run.jobId, queue: run.queue, exitCode: status, source: "exit record" });
    const supervisor = run.supervisor === null ? "unknown" : this.#deps.probe.observe(run.supervisor.process).kind;
    // Nobody will finalise it: judged again at once instead of after the grace.
    if (supervisor === "dead" || run.supervisor?.state === "dead" || run.supervisor?.state === "stopped") {
      await this.#deps.store.runs.moveChecks([{ runId: run.id, ownerEpoch: run.ownerEpoch, checkAt: context.now }]);
    }
  }

  #graceOf(run: LiveRun): DurationMs {
    const stage = this.#deps.registry.stageOfQueue(run.queue)?.stage;
    return stage?.finalizeGraceMs ?? this.#deps.settings().thresholds.finalizeGraceMs;
  }

  async #endLost(tick: ReaperTick, context: TickContext): Promise<void> {
    const { recoverySpreadMs } = this.#deps.settings();
    this.#spread.expect(tick.losses.map(({ observed }) => observed.run));
    for (const { observed, verdict } of tick.losses) {
      const spreadMs = this.#spread.nextDelayMs(observed.run, recoverySpreadMs);
      if (context.signal.aborted) return;
      try {
        await this.#end(observed, verdict, tick, context, spreadMs);
      } catch (thrown) {
        tick.failed++;
        context.emit("loop.subject_failed", { loop: this.name, subject: `job ${observed.run.jobId}`, message: messageOf(thrown) });
      }
    }
  }

  async #end(observed: ObservedRun, verdict: RunVerdict, tick: ReaperTick, context: TickContext, spreadMs = 0): Promise<void> {
    const outcome = outcomeOfVerdict(verdict);
    if (outcome === undefined) throw new Error(`The verdict ${verdict.kind} ends nothing.`);
    const { run } = observed;
    const { stopWithinMs } = this.#deps.settings();
    // The last look before the flip: what has been written down meanwhile says more than any verdict.
    const record = run.state === "exited" ? undefined : await this.#deps.observer.exitRecordOf(run);
    if (record?.kind === "exit") {
      await this.#recordExit(run, record.status, context);
      return;
    }
    // What a foreground command has started has no life pipe that would tell: whoever waits for its lease waits for the stopper's proof.
    const mayLive = mayStillLive(verdict) || (observed.facts.foreground === true && run.state === "started");
    const neverStartedDeaths =
      outcome.kind === "never_started" && outcome.bySessionDeath === true ? await this.#neverStartedDeaths(run) : 0;
    const settlement = settlementOfFailure(
      run,
      outcome,
      {
        reason: verdict.reason,
        evidence: evidenceOf(observed, verdict, context.now),
        neverStartedDeaths,
        spreadMs,
        ...(mayLive ? { stopBy: addMs(context.now, stopWithinMs) } : {}),
      },
      this.#context(context.now),
    );
    await this.#settle(observed, settlement, outcome, tick, context);
  }

  async #neverStartedDeaths(run: LiveRun): Promise<number> {
    return neverStartedDeathsBefore(await this.#deps.store.runs.ofJob(run.jobId), run.id);
  }

  /** Outside the tick, because a gate may take long: the subject is judged by the answer when it comes. */
  #finalise(observed: ObservedRun, verdict: RunVerdict, context: TickContext): void {
    const { run } = observed;
    const work = this.#finaliseNow(observed, verdict, context)
      .catch((thrown: unknown) => {
        context.emit("loop.subject_failed", { loop: this.name, subject: `job ${run.jobId}`, message: messageOf(thrown) });
      })
      .finally(() => this.#finalising.delete(run.id));
    this.#finalising.set(run.id, work);
  }

  async #finaliseNow(observed: ObservedRun, verdict: RunVerdict, context: TickContext): Promise<void> {
    const { run } = observed;
    const { finaliser, store, observer } = this.#deps;
    const evidence = evidenceOf(observed, verdict, context.now);
    const result = await finaliser.finalise(run, { actor: this.name, signal: context.signal, evidence });
    // Stopped over it: the gate was not read, and nothing follows from that.
    if (context.signal.aborted) return;
    if (result.kind === "settle") {
      // Its supervisor died before it could stop what the run had left behind; the stopper does, before anything else of the item runs.
      const leavesStrays = this.#deps.registry.stageOfQueue(run.queue)?.stage.strays === "leave";
      const strays = !leavesStrays && (await observer.lifePipeOf(run)) === "held";
      const stopBy = addMs(store.now(), this.#deps.settings().stopWithinMs);
      await this.#settle(observed, strays ? { ...result.settlement, stopBy } : result.settlement, undefined, new ReaperTick(), context);
      return;
    }
    context.emit("run.deferred", { runId: run.id, jobId: run.jobId, queue: run.queue, reason: result.why });
    await store.runs.recordGatePending({ runId: run.id, ownerEpoch: run.ownerEpoch, checkAt: result.readAgainAt });
  }

  async #settle(
    observed: ObservedRun,
    settlement: Settlement,
    outcome: RunOutcome | undefined,
    tick: ReaperTick,
    context: TickContext,
  ): Promise<void> {
    const { run } = observed;
    const [answer] = await this.#deps.store.runs.settle([settlement]);
    this.#memories.delete(run.id);
    if (answer?.kind !== "ok") {
      // Whoever won the flip has written everything that follows; the loser does nothing.
      tick.lost++;
      return;
    }
    tick.settled++;
    this.#reapedTotal++;
    const ended = settlement.then.to;
    this.#lastReaped = { job_id: run.jobId, agent: run.agent, outcome: ended };
    const reason = settlement.message ?? settlement.reason;
    const ref = { runId: run.id, jobId: run.jobId, queue: run.queue };
    context.emit("run.reaped", { ...ref, agent: run.agent, repo: run.repo, pid: run.process?.pid ?? null, outcome: ended, reason });
    context.emit("run.ended", {
      ...ref,
      outcome: settlement.outcome,
      reason: settlement.reason,
      message: outcome?.reason ?? reason,
      jobState: ended,
      actor: this.name,
    });
  }

  #context(now: Instant): SettlingContext {
    return { registry: this.#deps.registry, random: this.#deps.random, now, actor: this.name };
  }
}

/** What one tick collects. */
class ReaperTick {
  seen = 0;
  settled = 0;
  lost = 0;
  failed = 0;
  recheckAt: Instant | undefined;
  readonly checks: { runId: RunId; ownerEpoch: LiveRun["ownerEpoch"]; checkAt: Instant }[] = [];
  readonly would: string[] = [];
  /** Judged to have ended with whatever held them, and not yet ended. */
  readonly losses: { readonly observed: ObservedRun; readonly verdict: RunVerdict }[] = [];

  recheckNotAfter(at: Instant): void {
    if (this.recheckAt === undefined || at < this.recheckAt) this.recheckAt = at;
  }
}

/** The evidence that is stored with a verdict: every number a person needs to check it. */
function evidenceOf({ run, evidence }: ObservedRun, verdict: RunVerdict, now: Instant): Readonly<Record<string, unknown>> {
  return {
    verdict,
    judgedAt: now,
    startedAt: run.startedAt,
    lastProgressAt: run.progressAt,
    sessionHeardAt: run.supervisor?.lastHeardAt ?? null,
    process: evidence.process ?? null,
    lifePipe: evidence.lifePipe,
    exitRecord: evidence.exitRecord.kind,
    supervisor: evidence.supervisor,
    report: evidence.report.kind,
  };
}
