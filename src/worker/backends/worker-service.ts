import type { HostId, ItemId, RunId, WorkerId } from "../../domain/ids.ts";
import { addMs, asInstant, type DurationMs, type Instant } from "../../domain/time.ts";
import { isSessionOver } from "../../liveness/death-proof.ts";
import type { StageDefinition } from "../../pipelines/definition.ts";
import { neutralStage } from "../../pipelines/reading/neutral-stage.ts";
import { StoredStages } from "../../pipelines/reading/stored-stages.ts";
import type { PipelineRegistry } from "../../pipelines/registry.ts";
import type { ExitDecider } from "../../settling/exit-decider.ts";
import type { RunEnder } from "../../settling/run-ender.ts";
import type { FirstChecks } from "../../store/jobs/claim-rules.ts";
import type { ClaimedRun, ClaimRequest, Fence, FencedAnswer, LiveRun, StoredProcess } from "../../store/port/runs.ts";
import type { Store } from "../../store/port/store.ts";
import type { Emit } from "../../telemetry/events.ts";
import type {
  AdoptedWork,
  Adoption,
  ClaimedWork,
  EndAnswer,
  EndReport,
  ExitReading,
  Hello,
  Renewal,
  RenewalAnswer,
  RunBeat,
  RunStart,
  WorkerBackend,
  WorkItem,
} from "../worker-backend.ts";
import { type Caller, CallerSessions, type SessionOver, type WorkerSession } from "./caller-sessions.ts";
import { RunReports, type RunReportsDeps } from "./run-reports.ts";

export interface WorkerServiceDeps {
  readonly store: Pick<Store, "jobs" | "runs" | "items" | "workers" | "upkeep" | "now" | "onHint">;
  readonly registry: PipelineRegistry;
  readonly ender: RunEnder;
  readonly decider: ExitDecider;
  /** By the thresholds in force, which workers do not know. */
  readonly checks: Pick<FirstChecks, "firstCheckAt"> & { readonly finalizeGraceMs: () => DurationMs };
  /** The API token for the processes of a command's run. */
  readonly tokenOf: (runId: RunId) => string | undefined;
  readonly onRenewed: (renewal: Renewal) => void;
  /** The host of the daemon that hears its sessions. Absent: an application, whose sessions nobody hears but itself. */
  readonly via?: HostId | undefined;
  /** Jobs of runs that ended well, for which no event is emitted. */
  readonly onSettled?: RunReportsDeps["onSettled"];
  readonly emit: Emit;
}

/**
 * What every worker asks, wherever it runs. Each door (the handler host's pipe, HTTP, a call in this process) connects its callers here. A
 * caller speaks for its own sessions, and a session for its own runs.
 */
export class WorkerService {
  readonly #deps: ConnectionDeps;

  constructor(deps: WorkerServiceDeps) {
    const stages = new StoredStages(deps.registry, deps.store.items);
    this.#deps = { ...deps, stages, reports: new RunReports({ ...deps, stages }) };
  }

  connect(caller: Caller = {}): WorkerConnection {
    return new WorkerConnection(caller, this.#deps);
  }
}

interface ConnectionDeps extends Omit<WorkerServiceDeps, "registry" | "ender" | "decider" | "onSettled"> {
  readonly stages: StoredStages;
  readonly reports: RunReports;
}

/** The verbs of the service for one caller. */
export class WorkerConnection implements WorkerBackend {
  readonly #mayClaim: () => boolean;
  readonly #deps: ConnectionDeps;
  readonly #sessions: CallerSessions;
  readonly #hellos = new Map<string, Promise<WorkerId>>();

  constructor({ mayClaim = () => true, ...caller }: Caller, deps: ConnectionDeps) {
    this.#mayClaim = mayClaim;
    this.#deps = deps;
    this.#sessions = new CallerSessions(caller, deps.store);
  }

  /** Forgets what is remembered of a caller that is gone. Its sessions go on in the store until something ends them. */
  close(): void {
    this.#sessions.close();
    this.#hellos.clear();
  }

  async hello(hello: Hello): Promise<WorkerId> {
    const opening = this.#hellos.get(hello.helloId) ?? this.#open(hello);
    this.#hellos.set(hello.helloId, opening);
    // A failed opening may be tried again.
    opening.catch(() => this.#hellos.delete(hello.helloId));
    return await opening;
  }

  async claim(request: ClaimRequest): Promise<readonly ClaimedWork[]> {
    const { workerId, claimSeq } = request;
    const session = this.#sessions.remembered(workerId) ?? (await this.#sessions.find(workerId));
    if ("over" in session || !this.#mayClaim()) return [];
    const claimed = await this.#deps.store.runs.claim(request);
    const ofItems = session.work.take(claimed, claimSeq);
    return ofItems || session.kind === "command" ? await this.#withWork(session, claimed) : claimed;
  }

  async start(workerId: WorkerId, starts: readonly RunStart[]): Promise<readonly FencedAnswer[]> {
    return await this.#ofOwnRuns(workerId, starts, async (ours, session) => {
      const { store, checks } = this.#deps;
      const withChecks = ours.map((start) => ({ ...start, checkAt: checks.firstCheckAt(start.startedAt, start.limits) }));
      const answers = await store.runs.start(withChecks);
      for (const [at, start] of ours.entries()) if (answers[at]?.kind === "ok") this.#tellStart(session, start);
      return answers;
    });
  }

  async command(workerId: WorkerId, command: Fence & { readonly process: StoredProcess }): Promise<FencedAnswer> {
    const { runs } = this.#deps.store;
    const [answer] = await this.#ofOwnRuns(
      workerId,
      [command],
      async (ours) => await Promise.all(ours.map((own) => runs.recordProcess(own))),
    );
    return answer ?? { kind: "gone" };
  }

  async beat(workerId: WorkerId, beats: readonly RunBeat[]): Promise<readonly RunId[]> {
    const session = await this.#session(workerId);
    if ("over" in session) return beats.map(({ runId }) => runId);
    const { runs } = this.#deps.store;
    const unknown = beats.filter(({ runId }) => !session.work.has(runId)).map(({ runId }) => runId);
    if (unknown.length === 0) return await runs.beat(beats);
    const ours = new Set((await runs.listLive(unknown)).filter((run) => run.workerId === workerId).map(({ id }) => id));
    const strangers = unknown.filter((runId) => !ours.has(runId));
    return [...strangers, ...(await runs.beat(beats.filter(({ runId }) => !strangers.includes(runId))))];
  }

  async renew(renewal: Renewal): Promise<RenewalAnswer> {
    const { workerId } = renewal;
    const session = this.#sessions.remembered(workerId) ?? (await this.#sessions.find(workerId));
    const whole = "over" in session ? renewal : { ...renewal, held: session.work.heldBy(renewal) };
    const answer = await this.#deps.store.workers.renew({ ...whole, via: this.#deps.via });
    if (isSessionOver(answer.state)) this.#sessions.ended(workerId);
    else this.#deps.onRenewed(whole);
    return answer;
  }

  end(workerId: WorkerId, reports: readonly EndReport[]): Promise<readonly EndAnswer[]> {
    const session = this.#sessions.known(workerId);
    return session === undefined ? this.#endLater(workerId, reports) : this.#deps.reports.end(session, reports);
  }

  async #endLater(workerId: WorkerId, reports: readonly EndReport[]): Promise<readonly EndAnswer[]> {
    const session = await this.#sessions.find(workerId);
    const { reports: service } = this.#deps;
    return "over" in session ? await service.refuse(session, reports) : await service.end(session, reports);
  }

  async reading(workerId: WorkerId, reading: ExitReading): Promise<EndAnswer> {
    const session = await this.#session(workerId);
    const { reports } = this.#deps;
    if (!("over" in session)) return await reports.reading(session, reading);
    return (await reports.refuse(session, [reading]))[0] ?? { kind: "gone" };
  }

  async adopt(workerId: WorkerId, { runId, ownerEpoch, reason }: Adoption): Promise<AdoptedWork | undefined> {
    const session = await this.#session(workerId);
    const { store, stages, emit } = this.#deps;
    const [run] = await store.runs.listLive([runId]);
    if ("over" in session || session.kind !== "command" || run?.kind !== "command" || run.ownerEpoch !== ownerEpoch) return undefined;
    if (run.process?.hostId !== session.hostId) return undefined;
    // A run outlives the declaration of its stage: it goes on under the version it began with or, where that cannot be read, under its own
    // limits. A changed configuration ends no work.
    const stage = (await stages.stageOf(run)) ?? neutralStageOf(run);
    if (stage === undefined) return undefined;
    // What counted as progress when the run began still counts, whatever its stage says now.
    const countsOutput = [stage, await stages.storedStageOf(run)].some((each) => each?.heartbeat?.from === "output");
    // All that may fail comes before the take-over is written, so that no run is taken over and then left alone.
    const item = run.itemId === null ? undefined : await this.#itemOf(run.itemId);
    const checkAt = this.#checkOf(run, stage);
    const taken = await store.runs.takeOver({ runId, ownerEpoch, workerId, actor: "worker", reason, checkAt });
    if (taken === undefined) return undefined;
    const { jobId, queue, itemId, attempt } = run;
    session.work.add({ runId, jobId, queue, itemId, attempt, ownerEpoch: taken });
    emit("run.adopted", { runId, jobId, queue, workerId, evidence: reason });
    return { jobId, ownerEpoch: taken, stage, countsOutput, item };
  }

  async drain(workerId: WorkerId): Promise<void> {
    await this.#session(workerId);
    await this.#deps.store.workers.drain(workerId);
  }

  async leave(workerId: WorkerId): Promise<void> {
    await this.#session(workerId);
    const left = await this.#deps.store.workers.leave(workerId);
    this.#sessions.ended(workerId);
    if (left) this.#deps.emit("worker.left", { workerId });
  }

  now(): Instant {
    return this.#deps.store.now();
  }

  onJobs(listener: () => void): () => void {
    return this.#deps.store.onHint((hint) => {
      if (hint === "jobs") listener();
    });
  }

  async #open({ name, kind, process, concurrency, queues }: Hello): Promise<WorkerId> {
    const workerId = await this.#deps.store.workers.register({ name, kind, process, concurrency, queues, via: this.#deps.via });
    this.#sessions.opened(workerId, { kind, process });
    this.#deps.emit("worker.registered", { workerId, kind, pid: process.pid });
    return workerId;
  }

  async #session(workerId: WorkerId): Promise<WorkerSession | SessionOver> {
    return this.#sessions.known(workerId) ?? (await this.#sessions.find(workerId));
  }

  /** Writes what is reported of the session's own runs, and refuses the rest. Answers in the order given. */
  async #ofOwnRuns<Word extends Fence>(
    workerId: WorkerId,
    words: readonly Word[],
    write: (ours: readonly Word[], session: WorkerSession) => Promise<readonly FencedAnswer[]>,
  ): Promise<readonly FencedAnswer[]> {
    const session = await this.#session(workerId);
    const { reports } = this.#deps;
    if ("over" in session) return await reports.refuse(session, words.map(fenceOf));
    const strangers = await this.#sessions.strangersIn(session, words);
    if (strangers === undefined) return await write(words, session);
    const [ours, others] = [words.filter((word) => !strangers.has(word)), words.filter((word) => strangers.has(word))];
    const [written, refused] = await Promise.all([
      ours.length === 0 ? [] : write(ours, session),
      reports.refuse(session, others.map(fenceOf)),
    ]);
    const [nextWritten, nextRefused] = [written.values(), refused.values()];
    return words.map((word) => (strangers.has(word) ? nextRefused : nextWritten).next().value as FencedAnswer);
  }

  #tellStart({ workerId, kind, work }: WorkerSession, start: RunStart): void {
    const held = work.of(start);
    if (held === undefined || start.wrapper === undefined || kind !== "command") return;
    const { jobId, queue, attempt } = held;
    this.#deps.emit("run.started", { runId: start.runId, jobId, queue, attempt, workerId, pid: start.wrapper.pid });
  }

  async #withWork({ kind }: WorkerSession, claimed: readonly ClaimedRun[]): Promise<readonly ClaimedWork[]> {
    return await Promise.all(
      claimed.map(async (run) => {
        const item = run.itemId === null ? undefined : await this.#itemOf(run.itemId);
        return { ...run, item, token: kind === "command" ? this.#deps.tokenOf(run.runId) : undefined };
      }),
    );
  }

  async #itemOf(itemId: ItemId): Promise<WorkItem | undefined> {
    const { items } = this.#deps.store;
    const [item, visits] = await Promise.all([items.get(itemId), items.visits(itemId)]);
    if (item === undefined) return undefined;
    const { id, key, pipeline, dir, label, input } = item;
    const previous = visits.filter(({ counts, state }) => counts && state === "passed").at(-1)?.output ?? null;
    return { id, key, pipeline, dir, label, input, previous };
  }

  #checkOf({ state, startedAt, reservedAt, limits }: LiveRun, { finalizeGraceMs }: StageDefinition): Instant {
    const { store, checks } = this.#deps;
    return state === "exited"
      ? addMs(store.now(), finalizeGraceMs ?? checks.finalizeGraceMs())
      : checks.firstCheckAt(asInstant(startedAt ?? reservedAt), limits);
  }
}

const fenceOf = ({ runId, ownerEpoch }: Fence): Fence => ({ runId, ownerEpoch });

/** For a run of an item whose stage is neither declared nor stored in any version that can be read. */
function neutralStageOf({ pipeline, queue, limits }: LiveRun): StageDefinition | undefined {
  return pipeline === null ? undefined : neutralStage({ pipeline, stage: queue.slice(pipeline.length + 1) }, limits);
}
