import { lstat } from "node:fs/promises";
import { join } from "node:path";
import { messageOf, WakefulError } from "../../domain/errors.ts";
import type { RunId, WorkerId } from "../../domain/ids.ts";
import type { DurationMs } from "../../domain/time.ts";
import { HeartbeatWatch, type WatchedFile } from "../../observe/heartbeat-watch.ts";
import { readProgress } from "../../observe/progress-file.ts";
import type { StageDefinition } from "../../pipelines/definition.ts";
import type { PipelineRegistry } from "../../pipelines/registry.ts";
import { type ProcessTable, tableSnapshotOf } from "../../processes/probe/process-table.ts";
import { limitRunLogs } from "../../processes/run-folder/limit-run-logs.ts";
import { runFiles } from "../../processes/run-folder/run-files.ts";
import { claimMax, type LiveRun } from "../../store/port/runs.ts";
import { Claimer } from "../buffers/claimer.ts";
import type { ClaimedWork, RunBeat } from "../worker-backend.ts";
import { type BeginRun, CommandRun } from "./command-run.ts";
import { type CommandRunDeps, declaredLimits } from "./command-run-deps.ts";
import { lookAtPlaces, pathsOfStage, type StagePlaces } from "./stage-paths.ts";

export interface CommandWorkerOptions {
  readonly deps: CommandRunDeps;
  readonly registry: PipelineRegistry;
  /** Commands at once. At least 1. */
  readonly concurrency: number;
  /** Calls back once a second, to claim without a hint and to look at files. Returns a function that stops it. */
  readonly onPoll: (listener: () => void) => () => void;
  /** Unique in the store: names its claims. */
  readonly newId: () => string;
}

interface ServedQueue {
  readonly name: string;
  readonly limits: ReturnType<typeof declaredLimits>;
  /** What a start of its commands touches of configured paths. */
  readonly paths: readonly string[];
}

/** How long a start may wait for a share before its place among the commands goes to another. */
const shareWaitMs: DurationMs = 100;

interface Held {
  readonly run: CommandRun;
  readonly beats: HeartbeatWatch | undefined;
  progressMtimeMs: number;
}

/** The daemon's own worker of commands: claims up to its concurrency, looks after each run, and leaves them alive when it stops. */
export class CommandWorker {
  readonly #options: CommandWorkerOptions;
  readonly #queues: readonly ServedQueue[];
  readonly #held = new Map<RunId, Held>();
  /** Claimed and being prepared. */
  readonly #preparing = new Set<RunId>();
  /** Those among them that wait for a share, and so use no place. */
  readonly #waiting = new Set<RunId>();
  #workerId: WorkerId | undefined;
  #url: string | undefined;
  #claims: Claimer;
  #stopPolling: (() => void) | undefined;
  #lastClaimTried = false;
  #looking = false;
  #stopListening: (() => void) | undefined;
  /** Beats that the store has not taken: a file shows each touch once. */
  readonly #beats = new Map<RunId, RunBeat>();
  #mode: "idle" | "running" | "draining" | "stopped" = "idle";

  constructor(options: CommandWorkerOptions) {
    this.#options = options;
    const { baseDir } = options.deps.launch;
    this.#queues = options.registry
      .queues()
      .filter((queue) => queue.kind === "command")
      .flatMap((queue) => {
        const stage = options.registry.stageOfQueue(queue.name)?.stage;
        return stage === undefined ? [] : [{ name: queue.name, limits: declaredLimits(stage), paths: pathsOfStage(stage, baseDir) }];
      });
    this.#claims = this.#newClaimer();
  }

  get queues(): readonly string[] {
    return this.#queues.map((queue) => queue.name);
  }

  get concurrency(): number {
    return this.#options.concurrency;
  }

  get claimSeqReceived(): number {
    return this.#claims.seqReceived;
  }

  held(): readonly RunId[] {
    return [...this.#held.keys(), ...this.#preparing];
  }

  /** Begins to claim. `url`: where the processes of runs find the API; absent where there is none. */
  start({ workerId, url }: { readonly workerId: WorkerId; readonly url: string | undefined }): void {
    this.#workerId = workerId;
    this.#url = url;
    this.#mode = "running";
    this.#stopListening = this.#options.deps.backend.onJobs(() => this.lookAgain());
    this.#stopPolling = this.#options.onPoll(() => {
      this.#options.deps.starts.look();
      this.lookAgain();
      void this.#look();
    });
    this.lookAgain();
  }

  /** The session under which runs are adopted before claiming begins. */
  useSession(workerId: WorkerId): void {
    this.#workerId = workerId;
  }

  /** Takes a new session after the old one was declared dead. Runs of the old one are lost. */
  changeSession(workerId: WorkerId): void {
    this.#workerId = workerId;
    // What the old session claims, or had claimed without an answer, is lost with it: claims are numbered by session.
    this.#claims = this.#newClaimer();
    this.lookAgain();
  }

  /** The run is not ours any more: it has ended, or another supervisor has it. */
  lose(runId: RunId): void {
    this.#held.get(runId)?.run.lose();
  }

  /** Goes on with a run whose supervisor is proved dead. Resolves to false when another was first. */
  async adopt(live: LiveRun, why: string): Promise<boolean> {
    const { deps } = this.#options;
    const workerId = this.#workerId;
    if (workerId === undefined || this.#mode === "stopped") return false;
    const adopted = await deps.backend.adopt(workerId, { runId: live.id, ownerEpoch: live.ownerEpoch, reason: why });
    if (adopted === undefined) return false;
    // It was ours under an ended session: what looked after it then has lost its fence.
    this.#held.get(live.id)?.run.leave();
    this.#hold(CommandRun.adopt(deps, live, { ...adopted, workerId }), adopted.countsOutput);
    return true;
  }

  /** Stops claiming. Resolves when every held run is over. */
  async drain(): Promise<void> {
    this.#mode = "draining";
    this.#stopListening?.();
    while (this.#held.size > 0 || this.#preparing.size > 0 || this.#claims.busy) {
      await Promise.race([...[...this.#held.values()].map(({ run }) => run.over), new Promise((resolve) => setTimeout(resolve, 50))]);
    }
    this.#stopPolling?.();
  }

  /** Stops claiming and looking. The commands live on, and the next daemon adopts them. */
  async leave(): Promise<void> {
    await this.#stopClaiming();
    for (const { run } of this.#held.values()) run.leave();
  }

  /** Ends every held command for a person's interrupt: flipped first, then stopped by the stopper. Exited ones keep their outcome. */
  async stopAll(): Promise<void> {
    await this.#stopClaiming();
    await Promise.allSettled(
      [...this.#held.values()]
        .filter(({ run }) => run.running)
        .map(({ run }) => run.endAs({ kind: "released", why: "stopped by a person (SIGINT)", byPerson: true })),
    );
    // Recorded exits are settled in a moment, or by who takes them over.
    await this.#waitWhile(() => this.#held.size > 0);
    for (const { run } of this.#held.values()) run.leave();
  }

  async #stopClaiming(): Promise<void> {
    this.#mode = "stopped";
    this.#stopListening?.();
    this.#stopPolling?.();
    // A run being prepared either commits its start or withdraws, within milliseconds.
    await this.#waitWhile(() => this.#preparing.size > 0 || this.#claims.busy);
  }

  async #waitWhile(condition: () => boolean): Promise<void> {
    const { clock } = this.#options.deps.host;
    const deadline = clock.mono() + 3000;
    while (condition() && clock.mono() < deadline) await new Promise((resolve) => setTimeout(resolve, 10));
  }

  /** There may be jobs: claims what fits. */
  lookAgain(): void {
    this.#claims.lookAgain();
    this.#claim();
  }

  #newClaimer(): Claimer {
    const { deps, newId } = this.#options;
    const claimer: Claimer = new Claimer({
      claim: (request) => deps.backend.claim(request),
      queues: this.#queues,
      name: newId(),
      emit: deps.emit,
      onClaimed: (runs) => {
        // The claim of a trial asked for one queue only: the others are asked for at once.
        if (this.#lastClaimTried) claimer.lookAgain();
        if (claimer === this.#claims) this.#take(runs);
      },
      onFailed: () => undefined,
    });
    return claimer;
  }

  #claim(): void {
    const free = this.#free;
    if (this.#mode !== "running" || this.#workerId === undefined || free <= 0) return;
    const { starts, launch } = this.#options.deps;
    // What lies on a share that does not answer waits in its queue, where it costs nothing.
    const answering = this.#queues.filter(({ paths }) => launch.access.answers(paths));
    if (answering.length === 0) return;
    const beingStarted = this.#preparing.size - this.#waiting.size;
    const room = starts.room(Math.min(claimMax, free), { queues: answering.map(({ name }) => name), beingStarted });
    if (room === undefined) return;
    const { max, open } = room;
    const queues = answering.filter(({ name }) => open?.has(name) ?? true).map(({ name, limits }) => ({ name, limits }));
    if (queues.length === 0) return;
    const asked = this.#claims.claim(this.#workerId, () => ({ max, startNow: 0, queues }));
    if (asked) this.#lastClaimTried = room.isTrial;
  }

  get #free(): number {
    return this.#options.concurrency - this.#held.size - (this.#preparing.size - this.#waiting.size);
  }

  #take(runs: readonly ClaimedWork[]): void {
    // Stopped while the claim was on its way: no renewal names these runs, so the job-reaper hands them back unspent.
    const workerId = this.#workerId;
    if (this.#isStopped || workerId === undefined) return;
    for (const claimed of runs) {
      const stage = this.#options.registry.stageOfQueue(claimed.queue)?.stage;
      // Not a stage that was asked for: no renewal names the run, so the job-reaper ends it unspent.
      if (stage === undefined) continue;
      this.#preparing.add(claimed.runId);
      void this.#begin(claimed, { stage, workerId, url: this.#url, places: this.#placesOf(claimed.runId, stage) });
    }
    this.#claim();
  }

  /** Meanwhile the run gives its place to another; none may be free when the share has answered. */
  async #placesOf(runId: RunId, stage: StageDefinition): Promise<StagePlaces> {
    const giveWay = setTimeout(() => {
      this.#waiting.add(runId);
      this.lookAgain();
    }, shareWaitMs);
    try {
      const places = await lookAtPlaces(stage, this.#options.deps.launch);
      if (this.#waiting.has(runId) && this.#free <= 0)
        throw new WakefulError(
          "unavailable",
          "Its share answered late, and all places for commands were taken by then: it is tried again.",
        );
      return places;
    } finally {
      clearTimeout(giveWay);
      this.#waiting.delete(runId);
    }
  }

  async #begin(claimed: ClaimedWork, begin: BeginRun): Promise<void> {
    const run = await CommandRun.begin(this.#options.deps, claimed, begin);
    this.#preparing.delete(claimed.runId);
    this.#hold(run);
    if (this.#isStopped) run.leave();
  }

  get #isStopped(): boolean {
    return this.#mode === "stopped";
  }

  #hold(run: CommandRun, countsOutput = run.stage.heartbeat?.from === "output"): void {
    this.#held.set(run.runId, { run, beats: watchOf(run, countsOutput), progressMtimeMs: 0 });
    void run.over.then(() => {
      if (this.#held.get(run.runId)?.run !== run) return;
      this.#held.delete(run.runId);
      this.lookAgain();
    });
  }

  /** Once a second: records, heartbeat and progress files, and log sizes of the runs at work. */
  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    try {
      const table = tableSnapshotOf(this.#options.deps.host.table);
      for (const held of this.#held.values()) {
        if (!held.run.running) continue;
        try {
          await this.#lookAt(held, table);
        } catch (thrown) {
          // A failure of one run's files must not stop the others'.
          const subject = `files of run ${held.run.runId}`;
          this.#options.deps.emit("loop.subject_failed", { loop: "worker", subject, message: messageOf(thrown) });
        }
      }
      await this.#sendBeats();
    } catch (thrown) {
      this.#options.deps.emit("store.degraded", { code: "beat_failed", message: messageOf(thrown) });
    } finally {
      this.#looking = false;
    }
  }

  async #lookAt(held: Held, table: ProcessTable): Promise<void> {
    const { deps } = this.#options;
    const { run } = held;
    run.check();
    const now = () => deps.backend.now();
    const beatAt = await held.beats?.look({ now, wallNow: () => deps.host.clock.wall(), startedAt: run.startedAt });
    const progress = await this.#progressOf(held);
    if (progress !== undefined)
      deps.emit("run.progressed", { runId: run.runId, jobId: run.jobId, queue: run.queue, progress: JSON.parse(progress) });
    if (beatAt !== undefined || progress !== undefined) {
      const before = this.#beats.get(run.runId)?.progress;
      this.#beats.set(run.runId, { runId: run.runId, at: beatAt ?? now(), progress: progress ?? before });
    }
    run.rememberMembers(table);
    await this.#limitLogs(run);
  }

  async #sendBeats(): Promise<void> {
    const beats = [...this.#beats.values()];
    if (beats.length === 0 || this.#workerId === undefined) return;
    const gone = await this.#options.deps.backend.beat(this.#workerId, beats);
    for (const beat of beats) if (this.#beats.get(beat.runId) === beat) this.#beats.delete(beat.runId);
    for (const runId of gone) this.lose(runId);
  }

  async #progressOf(held: Held): Promise<string | undefined> {
    const path = runFiles(held.run.runDir).progress;
    const stat = await lstat(path).catch(() => undefined);
    if (stat === undefined || stat.mtimeMs === held.progressMtimeMs) return undefined;
    held.progressMtimeMs = stat.mtimeMs;
    return readProgress(path);
  }

  async #limitLogs({ runId, jobId, queue, runDir, stage }: CommandRun): Promise<void> {
    const cut = await limitRunLogs({ runDir, maxBytes: stage.log.maxBytes });
    for (const log of cut) this.#options.deps.emit("log.truncated", { runId, jobId, queue, ...log });
  }
}

/**
 * The files in which a run shows progress; undefined: none is asked for. The limit that the run started with decides, because it is judged
 * by that.
 */
function watchOf(run: CommandRun, countsOutput: boolean): HeartbeatWatch | undefined {
  if (run.heartbeatTimeoutMs === undefined) return undefined;
  const files = runFiles(run.runDir);
  const watched: WatchedFile[] = [
    { path: files.heartbeat, by: "mtime" },
    { path: files.progress, by: "mtime" },
  ];
  if (run.workDir !== undefined) watched.push({ path: join(run.workDir, run.stage.compatible.heartbeatFile), by: "mtime" });
  if (countsOutput) watched.push({ path: files.stdoutLog, by: "size" }, { path: files.stderrLog, by: "size" });
  return new HeartbeatWatch(watched);
}
