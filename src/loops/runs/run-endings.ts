import { messageOf } from "../../domain/errors.ts";
import type { RunId } from "../../domain/ids.ts";
import { addMs, type DurationMs, type Instant } from "../../domain/time.ts";
import { outcomeOfVerdict } from "../../liveness/retry-contract.ts";
import { mayStillLive, type RunVerdict } from "../../liveness/verdict.ts";
import type { ObservedRun, RunObserver } from "../../observe/run-evidence.ts";
import type { PipelineRegistry } from "../../pipelines/registry.ts";
import type { Finaliser } from "../../settling/finaliser.ts";
import type { RunEnder } from "../../settling/run-ender.ts";
import type { Ended } from "../../settling/tell-ends.ts";
import type { LiveRun } from "../../store/port/runs.ts";
import type { Store } from "../../store/port/store.ts";
import type { TickContext } from "../skeleton/loop.ts";
import { LossSpread } from "./loss-spread.ts";
import type { ReapedRuns } from "./reaped-runs.ts";
import type { ReaperSettings } from "./reaper-settings.ts";
import type { ReaperTick } from "./reaper-tick.ts";

export interface RunEndingsDeps {
  readonly store: Pick<Store, "runs" | "now">;
  readonly observer: RunObserver;
  readonly registry: PipelineRegistry;
  readonly settling: { readonly ender: Pick<RunEnder, "end" | "write">; readonly finaliser: Finaliser };
  readonly shared: { readonly reaped: ReapedRuns };
  /** Read anew at each tick. */
  readonly settings: () => ReaperSettings;
}

const actor = "job-reaper";
/** A locked run fails in this tick and is judged again in the next, so that it delays no other (decision 0013). */
const waitForNobody = { unlessLocked: true };

/** Carries out verdicts that end a run or bring it nearer to its end. Its only write to a job is the fenced flip. */
export class RunEndings {
  readonly #deps: RunEndingsDeps;
  /** Drops what is remembered of a run once anybody has written its end. */
  readonly #forget: (runId: RunId) => void;
  /** Runs whose gate is being read outside the tick. */
  readonly #finalising = new Map<RunId, Promise<void>>();
  readonly #spread = new LossSpread();

  constructor(deps: RunEndingsDeps, forget: (runId: RunId) => void) {
    this.#deps = deps;
    this.#forget = forget;
  }

  /** While its gate is read, the run is not judged: the answer judges it. */
  isFinalising(runId: RunId): boolean {
    return this.#finalising.has(runId);
  }

  /** Resolves when no gate is being read for a verdict. */
  async idle(): Promise<void> {
    while (this.#finalising.size > 0) await Promise.all(this.#finalising.values());
  }

  /** Stores the exit before anything acts on it; a living supervisor continues from there. */
  async recordExit(run: LiveRun, status: number, context: TickContext): Promise<void> {
    const checkAt = addMs(context.now, this.#graceOf(run));
    const answer = await this.#deps.store.runs.recordExit(
      { runId: run.id, ownerEpoch: run.ownerEpoch, exitCode: status, checkAt },
      waitForNobody,
    );
    this.#forget(run.id);
    if (answer.kind !== "ok") return;
    context.emit("run.exited", { runId: run.id, jobId: run.jobId, queue: run.queue, exitCode: status, source: "exit record" });
    // A dead supervisor finalises nothing, so the run is judged again at once instead of after the grace.
    if (this.#deps.observer.supervisorOf(run) === "dead") {
      await this.#deps.store.runs.moveChecks([{ runId: run.id, ownerEpoch: run.ownerEpoch, checkAt: context.now }]);
    }
  }

  /**
   * Ends what the tick found lost, after all of it is known: the delay of each depends on how many are lost together.
   * @param goesOn - The next tick finds more of the same event.
   */
  async endLost(tick: ReaperTick, { goesOn }: { readonly goesOn: boolean }, context: TickContext): Promise<void> {
    const { recoverySpreadMs } = this.#deps.settings();
    this.#spread.expect(tick.losses.map(({ observed }) => observed.run));
    for (const { observed, verdict } of tick.losses) {
      const spreadMs = this.#spread.nextDelayMs(observed.run, recoverySpreadMs);
      if (context.signal.aborted) return;
      try {
        await this.end(observed, verdict, tick, context, spreadMs);
      } catch (thrown) {
        tick.failed++;
        context.emit("loop.subject_failed", { loop: actor, subject: `job ${observed.run.jobId}`, message: messageOf(thrown) });
      }
    }
    if (!goesOn) this.#spread.over();
  }

  /** Runs outside the tick, because a gate may take long: the run is judged when the answer comes. */
  finalise(observed: ObservedRun, verdict: RunVerdict, context: TickContext): void {
    const { run } = observed;
    const work = this.#finaliseNow(observed, verdict, context)
      .catch((thrown: unknown) => {
        context.emit("loop.subject_failed", { loop: actor, subject: `job ${run.jobId}`, message: messageOf(thrown) });
      })
      .finally(() => this.#finalising.delete(run.id));
    this.#finalising.set(run.id, work);
  }

  async #finaliseNow(observed: ObservedRun, verdict: RunVerdict, context: TickContext): Promise<void> {
    const { run } = observed;
    const { settling, store, observer } = this.#deps;
    const { ender, finaliser } = settling;
    const evidence = evidenceOf(observed, verdict, context.now);
    const result = await finaliser.finalise(run, { actor, signal: context.signal, evidence });
    // The gate was not read because the loop stops: nothing follows.
    if (context.signal.aborted) return;
    if (result.kind === "settle") {
      // The supervisor died before it could stop what the run left behind; the stopper does, before the item goes on.
      const strays = !(await finaliser.leavesStrays(run)) && (await observer.lifePipeOf(run)) === "held";
      // This write is outside the tick and blocks nothing, so it may wait for a row.
      this.#over(run, await ender.write(run, result.settlement, { mayStillLive: strays }), context);
      return;
    }
    context.emit("run.deferred", { runId: run.id, jobId: run.jobId, queue: run.queue, reason: result.why });
    await store.runs.recordGatePending({
      runId: run.id,
      ownerEpoch: run.ownerEpoch,
      checkAt: result.readAgainAt,
      pendingSince: result.pendingSince,
    });
  }

  async end(observed: ObservedRun, verdict: RunVerdict, tick: ReaperTick, context: TickContext, spreadMs = 0): Promise<void> {
    const outcome = outcomeOfVerdict(verdict);
    if (outcome === undefined) throw new Error(`The verdict ${verdict.kind} ends nothing.`);
    const { run } = observed;
    // Reads the exit record once more: an exit written meanwhile overrides any verdict.
    const record = run.state === "exited" ? undefined : await this.#deps.observer.exitRecordOf(run);
    if (record?.kind === "exit") {
      await this.recordExit(run, record.status, context);
      return;
    }
    // A foreground command's children have no life pipe, so its lease is released only with the stopper's proof.
    const mayLive = mayStillLive(verdict) || (observed.facts.foreground === true && run.state === "started");
    const failure = {
      outcome,
      reason: verdict.reason,
      evidence: evidenceOf(observed, verdict, context.now),
      spreadMs,
      mayStillLive: mayLive,
    };
    const ended = await this.#deps.settling.ender.end(run, failure, { actor, ...waitForNobody });
    if (this.#over(run, ended, context)) tick.settled++;
    // The winner of the flip has written everything that follows, so the loser does nothing.
    else tick.lost++;
  }

  #over(run: LiveRun, ended: Ended, { emit }: TickContext): boolean {
    this.#forget(run.id);
    if (ended.kind !== "ended") return false;
    const { id: runId, jobId, queue, agent, repo, process } = run;
    this.#deps.shared.reaped.add({ ...ended, runId, jobId, queue, agent, repo, pid: process?.pid ?? null }, emit);
    return true;
  }

  #graceOf(run: LiveRun): DurationMs {
    const stage = this.#deps.registry.stageOfQueue(run.queue)?.stage;
    return stage?.finalizeGraceMs ?? this.#deps.settings().thresholds.finalizeGraceMs;
  }
}

/** The evidence stored with a verdict: every number a person needs to check it. */
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
