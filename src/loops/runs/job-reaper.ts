import type { LoopSettings, LoopSwitch } from "../../config/loop-settings.ts";
import { messageOf } from "../../domain/errors.ts";
import type { RunId } from "../../domain/ids.ts";
import { addMs, type DurationMs } from "../../domain/time.ts";
import { emptyRunMemory, forgetEnded, judgeRun, type RunMemory } from "../../liveness/run-policy.ts";
import { defaultRunThresholds } from "../../liveness/run-thresholds.ts";
import { checkAgainAt, explain, type RunVerdict } from "../../liveness/verdict.ts";
import type { RaiseAlert, Tell } from "../../notify/raise-alert.ts";
import { CachedProbe } from "../../observe/cached-probe.ts";
import type { ObservedRun, RunObserver } from "../../observe/run-evidence.ts";
import type { PipelineRegistry } from "../../pipelines/registry.ts";
import type { Host } from "../../processes/probe/host.ts";
import type { Finaliser } from "../../settling/finaliser.ts";
import type { RunEnder } from "../../settling/run-ender.ts";
import type { LiveRun, RunScope } from "../../store/port/runs.ts";
import type { Store } from "../../store/port/store.ts";
import { LeaseSweep } from "../leases/lease-sweep.ts";
import { type Loop, nothingSeen, type TickContext, type TickReport } from "../skeleton/loop.ts";
import type { JobReaperReport } from "../skeleton/loop-reports.ts";
import type { LoopParts, LoopSpec } from "../skeleton/loop-spec.ts";
import type { Watcher } from "../watch/watcher.ts";
import { DueRuns } from "./due-runs.ts";
import { HostConflicts } from "./host-conflicts.ts";
import type { ReapedRuns } from "./reaped-runs.ts";
import type { ReaperSettings } from "./reaper-settings.ts";
import { ReaperTick } from "./reaper-tick.ts";
import { RunEndings } from "./run-endings.ts";

export interface JobReaperDeps {
  readonly store: Pick<Store, "runs" | "workers" | "now">;
  readonly host: Pick<Host, "identity" | "probe">;
  readonly registry: PipelineRegistry;
  readonly observer: RunObserver;
  readonly settling: { readonly ender: RunEnder; readonly finaliser: Finaliser };
  /** Shared with the worker-reaper: how well this process hears, and what both have ended. */
  readonly shared: { readonly watcher: Watcher; readonly reaped: ReapedRuns };
  readonly leaseSweep: LeaseSweep;
  readonly alert: RaiseAlert;
  /** Read at each tick. */
  readonly settings: () => ReaperSettings;
  /** Continues a living run whose supervisor is proved dead; false when it cannot, or another adopted it first. */
  readonly adopt: (run: LiveRun, why: string) => Promise<boolean>;
}

/**
 * How soon a run is judged again while its gate is read, in case the answer is lost. Without the delay, a page of such runs hides all
 * others that are due.
 */
const finalisingRecheckMs: DurationMs = 5_000;

/** Verdicts that one event, such as the loss of a host, may bring to many runs. */
const lostTogether: ReadonlySet<RunVerdict["kind"]> = new Set(["dead", "never_started", "stop_then_dead", "forgotten"]);

/** Judges runs that are due or look dead, carries out the verdicts, and sweeps leases in the same tick. */
export class JobReaper implements Loop<"job-reaper"> {
  readonly name = "job-reaper";
  readonly #deps: JobReaperDeps;
  readonly #memories = new Map<RunId, RunMemory>();
  readonly #select: DueRuns;
  readonly #endings: RunEndings;
  readonly #conflicts: HostConflicts;

  constructor(deps: JobReaperDeps) {
    this.#deps = deps;
    this.#select = new DueRuns(deps);
    this.#endings = new RunEndings(deps, (runId) => this.#memories.delete(runId));
    this.#conflicts = new HostConflicts(deps);
  }

  /** The lease sweep has its own switch, so it runs with the scan switched off. */
  readonly ticksWhenDisabled = true;

  details(): JobReaperReport {
    return {
      ...this.#deps.shared.reaped.snapshot(),
      lease_reclaimed_total: this.#deps.leaseSweep.reclaimedTotal,
      suspects: this.#memories.size,
    };
  }

  async tick(context: TickContext): Promise<TickReport> {
    let report: TickReport = nothingSeen;
    try {
      if (context.enabled) report = await this.#scan(context);
    } finally {
      // A failed scan must not keep leases held: the sweep has its own evidence.
      const would: string[] = [];
      const reclaimed = await this.#deps.leaseSweep.sweep(context, would);
      report = { ...report, settled: report.settled + reclaimed };
      if (context.dryRun) report = { ...report, would: [...(report.would ?? []), ...would] };
    }
    return report;
  }

  /** Resolves when no gate is being read for a verdict. */
  async idle(): Promise<void> {
    await this.#endings.idle();
  }

  async #scan(context: TickContext): Promise<TickReport> {
    const { store, observer, settings } = this.#deps;
    const probe = new CachedProbe(this.#deps.host.probe);
    const { runs, live, more } = await this.#select.next(this.#memories.keys(), probe, context);
    const { deadAfterMs } = settings().thresholds;
    const conflicts = await this.#conflicts.look(store.workers, { deadAfterMs, judged: runs.length }, context);
    forgetEnded(this.#memories, live);
    const tick = new ReaperTick();
    for (const run of runs) {
      if (context.signal.aborted) break;
      if (this.#endings.isFinalising(run.id)) {
        tick.checks.push({ runId: run.id, ownerEpoch: run.ownerEpoch, checkAt: addMs(context.now, finalisingRecheckMs) });
        continue;
      }
      tick.seen++;
      try {
        await this.#judge(await observer.observe(run, conflicts, probe), tick, context);
      } catch (thrown) {
        // A failure leaves its run unchanged, and the other runs are still handled.
        tick.failed++;
        context.emit("loop.subject_failed", { loop: this.name, subject: `job ${run.jobId}`, message: messageOf(thrown) });
      }
    }
    await this.#endings.endLost(tick, { goesOn: more }, context);
    const moved = context.dryRun ? [] : await store.runs.moveChecks(tick.checks);
    const recheckInMs = tick.recheckAt === undefined ? undefined : Math.max(1, tick.recheckAt - context.now);
    // A page of failures alone, as on a full disk, is not repeated at once: it would fail again.
    const asTheyWere = tick.failed + tick.checks.length - moved.length;
    const nextInMs = more && asTheyWere < runs.length ? 0 : recheckInMs;
    return {
      seen: tick.seen,
      settled: tick.settled,
      lost: tick.lost,
      failed: tick.failed,
      nextInMs,
      would: context.dryRun ? tick.would : undefined,
    };
  }

  async #judge(observed: ObservedRun, tick: ReaperTick, context: TickContext): Promise<void> {
    const { run, facts, evidence } = observed;
    const { thresholds, adoption } = this.#deps.settings();
    const view = this.#deps.shared.watcher.view("workers");
    const { verdict, memory } = judgeRun(facts, evidence, this.#memories.get(run.id) ?? emptyRunMemory, thresholds, view, context.now);
    if (context.dryRun) {
      // A dry run must not advance a streak towards a death.
      if (verdict.kind !== "leave_alone") tick.would.push(`job ${run.jobId}, attempt ${run.attempt}: ${explain(verdict)}`);
      return;
    }
    if (memory.deadStreak > 0 || (memory.orphanedSince ?? memory.unnamedSince) !== undefined) this.#memories.set(run.id, memory);
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
        await this.#endings.recordExit(run, verdict.status, context);
        return;
      case "exited_known":
      case "take_over":
        this.#endings.finalise(observed, verdict, context);
        return;
      case "over_age":
        if (verdict.exitCode !== undefined) {
          this.#endings.finalise(observed, verdict, context);
          return;
        }
        await this.#endings.end(observed, verdict, tick, context);
        return;
      default:
        if (lostTogether.has(verdict.kind)) tick.losses.push({ observed, verdict });
        else await this.#endings.end(observed, verdict, tick, context);
        return;
    }
    const checkAt = checkAgainAt(verdict);
    if (checkAt === undefined) return;
    tick.checks.push({ runId: run.id, ownerEpoch: run.ownerEpoch, checkAt });
    if (verdict.kind === "suspect" || verdict.kind === "orphaned_adopt") tick.recheckNotAfter(checkAt);
  }
}

/** What a process that runs the job-reaper builds it of. */
export interface JobReaperParts extends LoopParts, Pick<JobReaperDeps, "host" | "registry" | "settling"> {
  readonly store: Pick<Store, "runs" | "workers" | "leases" | "now">;
  readonly shared: JobReaperDeps["shared"] & {
    readonly observer: RunObserver;
    /** Whose runs the loops of this process look at, read at each tick. */
    readonly whose: () => RunScope | undefined;
  };
  readonly work: Pick<JobReaperDeps, "adopt">;
  readonly tell: Tell;
  readonly settings: () => LoopSwitch<"job-reaper"> &
    Pick<LoopSettings, "reaper" | "leases" | "recovery"> & { readonly worker: Pick<LoopSettings["worker"], "deadAfterMs"> };
}

export const jobReaperSpec: LoopSpec<"job-reaper", JobReaperParts, JobReaper> = {
  name: "job-reaper",
  kind: "guarded",
  intervalMs: ({ reaper }) => reaper.intervalMs,
  enabled: ({ reaper, loops }) => reaper.enabled && loops["job-reaper"].enabled,
  tells: ({ reaper, leases }) => ({
    jobScan: reaper.enabled,
    deadTicks: reaper.deadTicks,
    maxRunningMs: reaper.maxRunningMs,
    finalizeGraceMs: reaper.finalizeGraceMs,
    leaseReclaim: leases.reclaimEnabled,
  }),
  wokenBy: ["leases"],
  build: ({ store, host, registry, settling, shared, work, tell, settings }) => {
    const { observer, whose } = shared;
    const leaseSweep = new LeaseSweep({
      store,
      probe: host.probe,
      ender: settling.ender,
      alert: tell.alert,
      settings: () => ({ ...settings().leases, deadAfterMs: settings().worker.deadAfterMs, whose: whose() }),
    });
    return new JobReaper({
      store,
      host,
      registry,
      observer,
      settling,
      shared,
      leaseSweep,
      adopt: work.adopt,
      alert: tell.alert,
      settings: () => {
        const { reaper, recovery, worker } = settings();
        const { pinnedHostLostMs } = recovery;
        const thresholds = { ...defaultRunThresholds, ...reaper, deadAfterMs: worker.deadAfterMs, pinnedHostLostMs };
        return { ...recovery, thresholds, whose: whose() };
      },
    });
  },
};
