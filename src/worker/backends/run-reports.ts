import { isRefusal, messageOf } from "../../domain/errors.ts";
import type { JobId } from "../../domain/ids.ts";
import { runTaskName } from "../../domain/run-task.ts";
import { addMs, asInstant, type DurationMs, seconds } from "../../domain/time.ts";
import { explainExitCode } from "../../liveness/exit-policy.ts";
import type { StoredStages } from "../../pipelines/reading/stored-stages.ts";
import type { PipelineRegistry } from "../../pipelines/registry.ts";
import type { ExitDecider } from "../../settling/exit-decider.ts";
import type { RunEnder, RunFailure } from "../../settling/run-ender.ts";
import { type Ended, tellBatch } from "../../settling/tell-ends.ts";
import type { FirstChecks } from "../../store/jobs/claim-rules.ts";
import type {
  Advance,
  Fence,
  FencedAnswer,
  LiveRun,
  NotSettled,
  RunRow,
  SettleAnswer,
  Settlement,
  Success,
} from "../../store/port/runs.ts";
import type { Store } from "../../store/port/store.ts";
import type { Emit } from "../../telemetry/events.ts";
import type { EndAnswer, EndReport, ExitReading, NotStartedCause, RunEnding } from "../worker-backend.ts";
import type { WorkerSession } from "./caller-sessions.ts";
import type { RememberedRun } from "./held-work.ts";
import { type DescribedFailure, type FailedEnding, failureOf } from "./run-failures.ts";

export interface RunReportsDeps {
  readonly store: Pick<Store, "jobs" | "runs" | "upkeep" | "now">;
  readonly registry: PipelineRegistry;
  readonly stages: StoredStages;
  readonly ender: RunEnder;
  readonly decider: ExitDecider;
  readonly checks: Pick<FirstChecks, "firstCheckAt"> & { readonly finalizeGraceMs: () => DurationMs };
  /** Successes, of which only the number is told. */
  readonly onSettled?: ((settled: readonly { readonly jobId: JobId }[]) => void) | undefined;
  readonly emit: Emit;
}

type Exited = Extract<RunEnding, { readonly kind: "exited" }>;
type Returned = Extract<RunEnding, { readonly kind: "returned" }>;
type ReturnReport = Omit<EndReport, "ending"> & { readonly ending: Returned };
type FailReport = Omit<EndReport, "ending"> & { readonly ending: FailedEnding };
/** A run that did not succeed and is to be ended. */
interface ToEnd {
  readonly run: LiveRun;
  readonly failure: RunFailure;
}

/** An unreadable gate is read again by its worker. A taker-over looks this much later. */
const readAgainSlackMs = seconds(60);

/** What follows from workers' reports of how runs ended. A run that is not the session's stays as it is, and the answer says so. */
export class RunReports {
  readonly #deps: RunReportsDeps;

  constructor(deps: RunReportsDeps) {
    this.#deps = deps;
  }

  /**
   * Successes of remembered runs are settled in this turn of the event loop, in one call and without a question to the store before, so
   * that they share the transaction of what else is asked in this turn.
   */
  end(session: WorkerSession, reports: readonly EndReport[]): Promise<readonly EndAnswer[]> {
    const settlements: Settlement[] = [];
    const queues: string[] = [];
    let others: Set<EndReport> | undefined;
    for (const report of reports) {
      const held = session.work.of(report);
      const settlement = held !== undefined && hasReturned(report) ? this.#successOf(report, held) : undefined;
      if (held === undefined || settlement === undefined) {
        others ??= new Set();
        others.add(report);
      } else {
        settlements.push(settlement);
        queues.push(held.queue);
      }
    }
    const settling = this.#settle(settlements, queues, session);
    return others === undefined ? settling : this.#withOthers(session, reports, { settling, others });
  }

  async #withOthers(
    session: WorkerSession,
    reports: readonly EndReport[],
    { settling, others }: { readonly settling: Promise<readonly EndAnswer[]>; readonly others: ReadonlySet<EndReport> },
  ): Promise<readonly EndAnswer[]> {
    const [settled, rest] = await Promise.all([settling, this.#endOthers(session, [...others])]);
    const [nextSettled, nextOther] = [settled.values(), rest.values()];
    return reports.map((report) => (others.has(report) ? nextOther : nextSettled).next().value as EndAnswer);
  }

  async reading(session: WorkerSession, reading: ExitReading): Promise<EndAnswer> {
    const { store, ender, decider, emit } = this.#deps;
    const [run] = await store.runs.listLive([reading.runId]);
    if (run === undefined || !isOf(session, run, reading)) return await this.#notOurs(session, reading);
    if (run.state !== "exited") return lostOf(run, `its exit is not on record: it is ${run.state}`);
    const { endedBy, output, begunAt, evidence } = reading;
    const how = { actor: actorOf(run), evidence };
    const unread = reading.gate.kind === "none" || reading.gate.kind === "not_read";
    let decision = await decider.decide(run, { endedBy, output, gate: unread ? { kind: "not_read" } : reading.gate, begunAt }, how);
    if (decision.kind === "read_gate") {
      // The daemon and the worker were started with different definitions of the stage.
      const gate = { kind: "unreadable", error: "its worker does not know the gate of its stage" } as const;
      decision = await decider.decide(run, { output, gate, begunAt }, how);
    }
    if (decision.kind === "read_gate") throw new Error(`The gate of run ${run.id} was asked for after it had been read.`);
    if (decision.kind === "settle") {
      return answerOf(await ender.write(run, decision.settlement, { mayStillLive: reading.straysLeft, supervises: true }));
    }
    const { readAgainAt, pendingSince, why } = decision;
    await store.runs.recordGatePending({ ...fenceOf(run), pendingSince, checkAt: addMs(readAgainAt, readAgainSlackMs) });
    emit("run.deferred", { runId: run.id, jobId: run.jobId, queue: run.queue, reason: why });
    return { kind: "read", at: readAgainAt };
  }

  /** The answers to a session that may write nothing more, or that reports on others' runs. */
  async refuse(
    session: Pick<WorkerSession, "workerId"> & { readonly over?: string | undefined },
    words: readonly (Fence & { readonly ending?: RunEnding | undefined })[],
  ): Promise<readonly FencedAnswer[]> {
    return await Promise.all(words.map(async (word) => await this.#notOurs(session, word)));
  }

  /**
   * The answer about a run that does not live as this session's. Nothing of it changes; an output returned after it had ended otherwise is
   * kept as a late result.
   */
  async #notOurs(
    { workerId, over }: Pick<WorkerSession, "workerId"> & { readonly over?: string | undefined },
    report: Fence & { readonly ending?: RunEnding | undefined },
  ): Promise<FencedAnswer> {
    const { store, emit } = this.#deps;
    const run = await store.runs.get(report.runId);
    if (run === undefined) return { kind: "gone" };
    if (run.workerId !== workerId || run.ownerEpoch !== report.ownerEpoch)
      return lostOf(run, `worker ${run.workerId ?? "none"} has the run (owner epoch ${run.ownerEpoch})`);
    if (run.state !== "ended") return lostOf(run, over ?? `it is ${run.state}`);
    const { ending } = report;
    if (ending?.kind === "exited" && ending.exitCode === run.exitCode) return { kind: "already" };
    if (ending?.kind !== "returned") return lostOf(run, `attempt ${run.attempt} has ended as ${run.outcome} (${run.reason})`);
    const settlement = plainSuccess({ ...report, ending }, run.jobId);
    const answers = await store.runs.settle([settlement]);
    tellBatch(emit, { settlements: [settlement], queues: [(await store.jobs.get(run.jobId))?.queue ?? ""] }, answers);
    const [answer = { kind: "gone" }] = answers;
    // A late result is only kept to be told.
    return answer.kind === "failed" ? lostOf(run, messageOf(answer.error)) : withoutDetails(answer);
  }

  async #settle(settlements: readonly Settlement[], queues: readonly string[], session?: WorkerSession): Promise<readonly EndAnswer[]> {
    if (settlements.length === 0) return [];
    const { store, emit, onSettled } = this.#deps;
    const answers = await store.runs.settle(settlements);
    session?.work.drop(settlements);
    tellBatch(emit, { settlements, queues }, answers);
    onSettled?.(settlements);
    return answers.map((answer) => (answer.kind === "failed" ? refusedOf(answer) : withoutDetails(answer)));
  }

  /** Undefined: its output alone does not say what follows, or its stage is not declared here. */
  #successOf(report: ReturnReport, { jobId, queue, itemId }: Pick<RememberedRun, "jobId" | "queue" | "itemId">): Success | undefined {
    const success = plainSuccess(report, jobId);
    if (itemId === null) return success;
    const staged = this.#deps.registry.stageOfQueue(queue);
    if (staged === undefined || staged.stage.gate !== undefined) return undefined;
    return movingOn(success, this.#deps.registry.advanceFrom(staged.pipeline, staged.stage.name));
  }

  async #endOthers(session: WorkerSession, reports: readonly EndReport[]): Promise<readonly EndAnswer[]> {
    const { store, ender } = this.#deps;
    const live = new Map((await store.runs.listLive(reports.map(({ runId }) => runId))).map((run) => [run.id, run]));
    const steps = await Promise.all(
      reports.map(async (report) => {
        const run = live.get(report.runId);
        return run === undefined || !isOf(session, run, report) ? await this.#notOurs(session, report) : await this.#next(run, report);
      }),
    );
    // In one call: a worker that drains hands back all that it had reserved.
    const toEnd = steps.filter((step) => "failure" in step);
    if (toEnd[0] === undefined) return steps as readonly EndAnswer[];
    const ended = (await ender.endAll(toEnd, { actor: actorOf(toEnd[0].run), supervises: true })).values();
    return steps.map((step) => ("failure" in step ? answerOf(ended.next().value as Ended | NotSettled) : step));
  }

  async #next(run: LiveRun, report: EndReport): Promise<EndAnswer | ToEnd> {
    const { ending } = report;
    if (ending.kind === "returned") return await this.#returned(run, { ...report, ending });
    if (ending.kind !== "exited") return await this.#failed(run, { ...report, ending });
    return run.queue === runTaskName ? await this.#endForeground(run, ending) : await this.#exited(run, ending.exitCode);
  }

  async #returned(run: LiveRun, report: ReturnReport): Promise<EndAnswer | ToEnd> {
    const { store, stages } = this.#deps;
    const stage = await stages.stageOf(run);
    if (stage?.gate !== undefined) {
      // The exit is recorded before the gate is read, so that whoever takes over neither repeats the work nor loses its output.
      const { start } = report;
      if (start !== undefined) await store.runs.start([{ ...fenceOf(run), ...start, checkAt: this.#checkAt(start) }]);
      return await this.#exited(run, 0);
    }
    const success = plainSuccess(report, run.jobId);
    const moved =
      run.pipeline === null ? success : movingOn(success, stage === undefined ? undefined : await stages.advanceFrom(run.pipeline, stage));
    if (moved !== undefined) return (await this.#settle([moved], [run.queue]))[0] ?? { kind: "gone" };
    return { run, failure: { ...this.#about(run, report, vanished(run)), stage } };
  }

  async #failed(run: LiveRun, report: FailReport): Promise<EndAnswer | ToEnd> {
    const { store, stages } = this.#deps;
    let { ending } = report;
    // Its exit is on record already and decides.
    if (run.state === "exited" && run.kind === "command") return { kind: "read", at: store.now() };
    if (ending.kind === "timed_out" && run.kind === "command") {
      // Its host may have slept: that time does not count, and its worker does not know it.
      const awakeMs = store.now() - (run.startedAt ?? run.reservedAt) - run.suspendedMs;
      const leftMs = (run.limits.timeoutMs ?? 0) - awakeMs;
      if (leftMs > 0) return { kind: "early", leftMs };
      ending = { ...ending, afterMs: awakeMs };
    }
    if (ending.kind === "released" && run.queue === runTaskName) return await this.#giveBack(run, ending.why);
    if (ending.kind === "not_started") {
      if (ending.cause === "run_dir_exists") await store.upkeep.raiseEpoch(`the folder of run ${run.id} exists already`);
      // Its start was written after all. The records of its wrapper tell how it ended, and the job-reaper reads them.
      if (run.state !== "reserved" && !withoutCommand.has(ending.cause)) return lostOf(run, `it is ${run.state}`);
    }
    return { run, failure: { ...this.#about(run, report, failureOf(ending, run)), stage: await stages.stageOf(run) } };
  }

  /** Recorded before anything else is done; what follows waits for the reading. */
  async #exited(run: LiveRun, exitCode: number): Promise<EndAnswer> {
    const { store, stages, checks } = this.#deps;
    const graceMs = (await stages.stageOf(run))?.finalizeGraceMs ?? checks.finalizeGraceMs();
    const answer = await store.runs.recordExit({ ...fenceOf(run), exitCode, checkAt: addMs(store.now(), graceMs) });
    if (answer.kind === "ok") this.#tellExit(run, exitCode, run.kind === "handler" ? "handler" : "exit record");
    return answer.kind === "ok" || answer.kind === "already" ? { kind: "read", at: store.now() } : answer;
  }

  /** A person saw how it ended, so nobody is alerted: 0 is done, anything else failed. */
  async #endForeground(run: LiveRun, { exitCode, endedBy }: Exited): Promise<EndAnswer> {
    const { store, ender, checks } = this.#deps;
    const answer = await store.runs.recordExit({ ...fenceOf(run), exitCode, checkAt: addMs(store.now(), checks.finalizeGraceMs()) });
    if (answer.kind !== "ok" && answer.kind !== "already") return answer;
    if (answer.kind === "ok") this.#tellExit(run, exitCode, "wakeful run");
    const by = { actor: actorOf(run) };
    const exit = { exitCode, evidence: { exitCode } };
    if (exitCode === 0) return answerOf(await ender.endWell(run, { ...exit, reason: "exit0_no_item" }, by));
    const outcome = { kind: "failed", disposition: "fail", reason: explainExitCode(exitCode, endedBy) } as const;
    return answerOf(await ender.end(run, { ...exit, outcome, reason: "exit_code" }, by));
  }

  /** Claimed by another `wakeful run` than the one that waits for it: the retry contract would end it. */
  async #giveBack(run: LiveRun, message: string): Promise<EndAnswer> {
    const back = { outcome: "released", reason: "released", message, retry: { jitter: 0 } } as const;
    return answerOf(await this.#deps.ender.write(run, { ...fenceOf(run), jobId: run.jobId, ...back, actor: actorOf(run) }));
  }

  #tellExit({ id: runId, jobId, queue }: LiveRun, exitCode: number, source: string): void {
    this.#deps.emit("run.exited", { runId, jobId, queue, exitCode, source });
  }

  #checkAt({ startedAt, limits }: NonNullable<EndReport["start"]>) {
    return this.#deps.checks.firstCheckAt(asInstant(startedAt), limits);
  }

  #about(run: LiveRun, { start, mayStillRun, ending }: EndReport, failure: DescribedFailure): Omit<RunFailure, "stage"> {
    const startedAt = run.startedAt ?? start?.startedAt ?? null;
    const evidence = { startedAt, now: this.#deps.store.now(), reason: failure.outcome.reason };
    return {
      ...failure,
      mayStillLive: mayStillRun,
      startedAt: start?.startedAt,
      evidence: ending.kind === "not_started" ? undefined : evidence,
    };
  }
}

/** Causes that a wrapper's record proves, whatever the store has of the start. */
const withoutCommand: ReadonlySet<NotStartedCause> = new Set<NotStartedCause>(["no_go", "abandoned", "machine"]);

const hasReturned = (report: EndReport): report is EndReport & ReturnReport => report.ending.kind === "returned";

/** The settlement of a run that returned and moves nothing on: on the hot path the only one. */
function plainSuccess({ runId, ownerEpoch, ending: { output }, start }: ReturnReport, jobId: JobId): Success {
  return {
    runId,
    ownerEpoch,
    jobId,
    outcome: "succeeded",
    reason: "returned",
    output,
    startedAt: start?.startedAt,
  };
}

const movingOn = (success: Success, advance: Advance | undefined): Success | undefined =>
  advance === undefined ? undefined : { ...success, advance };

const vanished = ({ pipeline, itemStage }: LiveRun): Pick<RunFailure, "outcome" | "reason"> => ({
  outcome: {
    kind: "failed",
    disposition: "hold",
    reason: `stage_vanished: what follows stage ${itemStage} of ${pipeline} is not declared any more`,
  },
  reason: "stage_vanished",
});

const isOf = ({ workerId }: WorkerSession, run: LiveRun, { ownerEpoch }: Fence): boolean =>
  run.workerId === workerId && run.ownerEpoch === ownerEpoch;

const fenceOf = ({ id, ownerEpoch }: LiveRun): Fence => ({ runId: id, ownerEpoch });

/** Its name in the action log. */
const actorOf = ({ queue }: LiveRun): string => (queue === runTaskName ? "run" : "worker");

const ok: FencedAnswer = Object.freeze({ kind: "ok" });

function answerOf(ended: Ended | NotSettled): EndAnswer {
  if (ended.kind === "failed") return refusedOf(ended);
  return ended.kind === "ended" ? ok : ended;
}

/** @throws What may do well when it is reported again. The others of its batch have been told, and answer `already` then. */
function refusedOf({ error }: NotSettled): EndAnswer {
  if (isRefusal(error)) return { kind: "refused", why: messageOf(error) };
  throw error;
}

/** What became of the job is not a worker's matter, and crosses no door. */
const withoutDetails = (answer: Exclude<SettleAnswer, NotSettled>): FencedAnswer => (answer.kind === "ok" ? ok : answer);

const lostOf = ({ ownerEpoch, state, workerId }: RunRow, why: string): FencedAnswer => ({
  kind: "lost",
  why,
  now: { ownerEpoch, state, workerId },
});
