import { isWakefulError, messageOf } from "../../domain/errors.ts";
import type { JobId, RunId, WorkerId } from "../../domain/ids.ts";
import type { DurationMs, Instant } from "../../domain/time.ts";
import { itemDirOf } from "../../files/data-paths.ts";
import type { StartFailure } from "../../liveness/start-blame.ts";
import type { StageDefinition } from "../../pipelines/definition.ts";
import type { ProcessTable } from "../../processes/probe/process-table.ts";
import { readExitRecord } from "../../processes/run-folder/exit-record.ts";
import { readCommand } from "../../processes/run-folder/run-files.ts";
import { type RunWatch, watchRun } from "../../processes/run-folder/watch-run.ts";
import type { LiveRun, RunLimits } from "../../store/port/runs.ts";
import type { AdoptedWork, ClaimedWork, RunEnding } from "../worker-backend.ts";
import { CommandEnd } from "./command-end.ts";
import { type CommandRunDeps, declaredLimits } from "./command-run-deps.ts";
import { committedOrAbandoned, type StartedCommand, startCommand } from "./command-start.ts";
import { OwnedRun, type RunIdentity } from "./owned-run.ts";
import { RunProcesses } from "./run-processes.ts";
import { RunTimeout } from "./run-timeout.ts";
import type { StagePlaces } from "./stage-paths.ts";
import { classifyStart } from "./start-failure.ts";
import { foldersOf, probeStart, searchOf } from "./start-probe.ts";

/** How soon a timeout looks again for a record that is being written. The job-reaper bounds the waiting. */
const recordAgainMs: DurationMs = 1000;

/** Runs a look on request. Looks never overlap: one that is requested during another follows it. */
class SerialLook {
  readonly #look: () => Promise<void>;
  readonly #onFailure: (thrown: unknown) => void;
  #looking = false;
  #again = false;

  constructor(look: () => Promise<void>, onFailure: (thrown: unknown) => void) {
    this.#look = look;
    this.#onFailure = onFailure;
  }

  request(): void {
    if (this.#looking) {
      this.#again = true;
      return;
    }
    this.#looking = true;
    this.#look()
      .catch(this.#onFailure)
      .finally(() => {
        this.#looking = false;
        if (!this.#again) return;
        this.#again = false;
        this.request();
      });
  }
}

/** A command that has lived for so long was started: the machine can do it again. */
const provesStartMs: DurationMs = 1000;

/** How a claimed run begins. */
export interface BeginRun {
  readonly stage: StageDefinition;
  /** The session that claimed it. */
  readonly workerId: WorkerId;
  /** Where its processes find the API; absent where there is none. */
  readonly url: string | undefined;
  /** Rejects where a path of the stage cannot be used: the run is not started then. */
  readonly places: Promise<StagePlaces>;
}

interface RunAtWork extends RunIdentity {
  readonly startedAt: Instant;
  readonly limits: RunLimits;
}

/**
 * One run of a command under this supervisor, from claim or adoption to settlement. This process may die at any step: what the store and
 * `runs/<id>` hold is enough for the next supervisor.
 */
export class CommandRun {
  readonly workDir: string | undefined;
  readonly over: Promise<void>;
  readonly #deps: CommandRunDeps;
  readonly #run: OwnedRun;
  /** The limits it started with, whatever its stage says now. */
  readonly #limits: RunLimits;
  readonly #processes: RunProcesses;
  readonly #commandEnd: CommandEnd;
  #startedAt: Instant;
  /** `preparing`: nothing has run. `running`: its command is at work. `finalising`: its exit is on record. `over`: settled, or not ours. */
  #mode: "preparing" | "running" | "finalising" | "over" = "preparing";
  #finish: () => void = () => undefined;
  /** Its wrapper was told to go on by us. */
  #saidGo = false;
  #watch: RunWatch | undefined;
  readonly #looks: SerialLook;
  #timeout: RunTimeout | undefined;
  readonly #stopped = new AbortController();

  private constructor(deps: CommandRunDeps, run: RunAtWork) {
    this.#deps = deps;
    this.#run = new OwnedRun(deps, run);
    this.workDir = run.item === undefined ? undefined : itemDirOf(deps.host.paths, run.item.dir);
    this.#startedAt = run.startedAt;
    this.#limits = run.limits;
    this.#processes = new RunProcesses(deps, run.runId);
    this.#commandEnd = new CommandEnd(deps, this.#run, {
      processes: this.#processes,
      signal: this.#stopped.signal,
      onUnstarted: ({ failure, why }) => this.#startPrevented(failure, why),
      onOver: () => this.#end(),
    });
    this.#looks = new SerialLook(
      async () => await this.#look(),
      (thrown) => this.#tellFailedLook(thrown),
    );
    this.over = new Promise((resolve) => {
      this.#finish = resolve;
    });
  }

  /** Starts what was claimed. Resolves once the command may run, or the run is over. Never rejects. */
  static async begin(deps: CommandRunDeps, claimed: ClaimedWork, { stage, workerId, url, places }: BeginRun): Promise<CommandRun> {
    const run = new CommandRun(deps, { ...claimed, stage, workerId, startedAt: deps.backend.now(), limits: declaredLimits(stage) });
    try {
      await run.#start(claimed, { url, places: await places });
    } catch (thrown) {
      await run.#failToStart(thrown);
    }
    return run;
  }

  /** Carries on with a run that was taken over from a dead supervisor. */
  static adopt(deps: CommandRunDeps, live: LiveRun, adopted: AdoptedWork & { readonly workerId: WorkerId }): CommandRun {
    const startedAt = live.startedAt ?? live.reservedAt;
    const run = new CommandRun(deps, { ...live, ...adopted, runId: live.id, startedAt });
    run.#processes.wrapper = live.wrapper ?? undefined;
    run.#processes.command = live.process ?? undefined;
    if (live.state === "exited") {
      run.#mode = "finalising";
      void run.#commandEnd.carryOn(live.exitCode);
    } else {
      run.#mode = "running";
      run.#observe();
      run.check();
    }
    return run;
  }

  get runId(): RunId {
    return this.#run.runId;
  }

  get jobId(): JobId {
    return this.#run.identity.jobId;
  }

  get queue(): string {
    return this.#run.identity.queue;
  }

  get stage(): StageDefinition {
    return this.#run.stage;
  }

  get runDir(): string {
    return this.#run.runDir;
  }

  /** As the store has it. Until the start is written: the time of the claim. */
  get startedAt(): Instant {
    return this.#startedAt;
  }

  /** The heartbeat limit it started with, by which it is judged. Undefined: no sign of progress is asked for. */
  get heartbeatTimeoutMs(): DurationMs | undefined {
    return this.#limits.heartbeatTimeoutMs;
  }

  get running(): boolean {
    return this.#mode === "running";
  }

  /** Reads the run's records now. Called on hints and each second; looks never overlap. */
  check(): void {
    if (this.#mode === "running") this.#looks.request();
  }

  /** Stops looking after the run without touching it: it is left for adoption, or another look goes on with it. */
  leave(): void {
    this.#end();
  }

  /** The run is not ours any more. If it has ended, what lives of it is stopped here: once its job is free, nobody else does. */
  lose(): void {
    this.#end();
    void this.#deps.ended.stop(this.runId);
  }

  /**
   * Remembers what the run has started, so that it is found even after it left its session and its environment.
   *
   * @param table - the process table, or one snapshot of it for all runs.
   */
  rememberMembers(table: ProcessTable = this.#deps.host.table): void {
    if (this.#mode === "running") this.#processes.remember(table);
  }

  /**
   * Ends the run before its command ends by itself: flipped first, stopped after. A command that has already ended keeps its own outcome.
   * Resolves to how long the run may go on instead, if it may.
   */
  async endAs(ending: RunEnding): Promise<DurationMs | undefined> {
    if ((await readExitRecord({ runDir: this.runDir, runId: this.runId })).kind === "exit") {
      this.check();
      return undefined;
    }
    if (this.#mode !== "running") return undefined;
    const answer = await this.#run.report(ending, { mayStillRun: true });
    if (answer.kind === "early") return answer.leftMs;
    // Another has put its exit on record, which is read now.
    if (answer.kind === "read") this.check();
    else if (answer.kind === "ok" || answer.kind === "already") this.#end();
    else this.lose();
    return undefined;
  }

  async #start(claimed: ClaimedWork, start: { readonly url: string | undefined; readonly places: StagePlaces }): Promise<void> {
    const askedAt = this.#hostTime();
    const started = await startCommand(this.#deps, claimed, this.#run, { workDir: this.workDir, limits: this.#limits, ...start });
    if (started === undefined || !(await this.#mayGo(started, askedAt))) {
      this.#end();
      return;
    }
    const { wrapper, startedAt } = started;
    this.#startedAt = startedAt;
    this.#mode = "running";
    this.#processes.wrapper = wrapper.identity;
    this.#observe();
    this.#saidGo = true;
    wrapper.go();
    void wrapper.exited.then(() => this.check());
  }

  /** A host that stood still since it asked may have lost the run meanwhile, so it asks again until the answer is fresh. */
  async #mayGo({ wrapper, startedAt }: StartedCommand, askedAt: number): Promise<boolean> {
    const { backend, goWithinMs } = this.#deps;
    let since = askedAt;
    while (this.#hostTime() - since > goWithinMs) {
      since = this.#hostTime();
      const again = { ...this.#run.fence, startedAt, wrapper: wrapper.identity, limits: this.#limits };
      const [answer] = await committedOrAbandoned(wrapper, () => backend.start(this.#run.workerId, [again]));
      if (answer?.kind === "ok" || answer?.kind === "already") continue;
      wrapper.abandon();
      return false;
    }
    return true;
  }

  /** Milliseconds that count suspends where the platform tells of them. */
  #hostTime(): number {
    const { clock } = this.#deps.host;
    return clock.boot() ?? clock.mono();
  }

  async #failToStart(thrown: unknown): Promise<void> {
    try {
      const { launch } = this.#deps;
      const { cause, failure } = await classifyStart(
        thrown,
        async () => await launch.devices.areElsewhere(foldersOf(searchOf(this.stage, launch))),
      );
      if (failure !== undefined) this.#startPrevented(failure, messageOf(thrown));
      await this.#run.report({ kind: "not_started", cause, why: `could not be started: ${messageOf(thrown)}` });
    } catch (error) {
      // Reserved and never started: the job-reaper ends it, and it spends nothing.
      this.#tellFailed(error);
    } finally {
      this.#end();
    }
  }

  #startPrevented(failure: StartFailure, why: string): void {
    const { starts } = this.#deps;
    starts.prevented({ queue: this.queue, failure, why, probe: async () => await probeStart(failure, this.stage, this.#deps) });
  }

  #observe(): void {
    this.#watch = watchRun({ runDir: this.runDir, onHint: () => this.check() });
    const { timeoutMs } = this.#limits;
    if (timeoutMs === undefined) return;
    this.#timeout = new RunTimeout({
      timeoutMs,
      startedAt: this.#startedAt,
      now: () => this.#deps.backend.now(),
      onTimeout: async (afterMs) => await this.#timedOut(afterMs),
      onFailure: (thrown) => this.#tellFailed(thrown),
    });
  }

  /** A command that is dead has kept its limit: how it ended is being recorded. */
  async #timedOut(afterMs: DurationMs): Promise<DurationMs | undefined> {
    if (!this.running) return undefined;
    return this.#awaitRecord() ? recordAgainMs : await this.endAs({ kind: "timed_out", afterMs });
  }

  /** Whether the command is dead and its wrapper, stopped or not, has yet to record how it ended. */
  #awaitRecord(): boolean {
    return this.#processes.awaitRecord((pid) => this.#deps.emit("run.wrapper_continued", { ...this.#run.ref, pid }));
  }

  async #look(): Promise<void> {
    if (this.#mode !== "running") return;
    const { runId, runDir } = this;
    const record = await readExitRecord({ runDir, runId, commandSeen: this.#processes.commandSeen });
    if (record.kind === "exit") {
      await this.#exited(record.status, record.writtenAtHostMs);
      return;
    }
    if (record.kind === "nogo") {
      await this.#endUnstarted();
      return;
    }
    const recorded = this.#processes.commandSeen ? this.#processes.command : await readCommand({ runDir, runId });
    // Dead without a record: the job-reaper judges that. Once it has, the run is not ours any more.
    this.#awaitRecord();
    if (this.#processes.commandSeen && !this.#processes.isGone) {
      // A program that could not be executed is gone by then.
      if (this.#deps.backend.now() - this.#startedAt >= provesStartMs) this.#deps.starts.started(this.queue);
      return;
    }
    const process = recorded ?? (this.#processes.isGone ? this.#processes.wrapper : undefined);
    if (process === undefined || this.#mode !== "running") return;
    const answer = await this.#deps.backend.command(this.#run.workerId, { ...this.#run.fence, process });
    if (answer.kind === "ok" || answer.kind === "already") this.#processes.command = process;
    // With its exit on record it is still ours, and the next look reads how it ended.
    else if (answer.kind !== "lost" || answer.now.state !== "exited") this.lose();
  }

  /** Its wrapper recorded that nothing was executed. */
  async #endUnstarted(): Promise<void> {
    if (!this.#saidGo) {
      await this.endAs({ kind: "not_started", cause: "no_go", why: "never started: its wrapper got no word" });
      return;
    }
    const why = "its shell could not start another process";
    this.#startPrevented({ step: "shell", code: undefined, otherDevice: false }, why);
    await this.endAs({ kind: "not_started", cause: "machine", why: `could not be started: ${why}` });
  }

  async #exited(status: number, writtenAtHostMs: number): Promise<void> {
    if (this.#mode !== "running") return;
    // A store that refuses (a full disk, a lost connection) leaves the run as it is; the next look repeats it.
    const answer = await this.#run.report({ kind: "exited", exitCode: status });
    if (answer.kind !== "read") {
      // Ended or taken over meanwhile.
      this.lose();
      return;
    }
    if (this.#stopped.signal.aborted) return;
    this.#mode = "finalising";
    this.#timeout?.cancel();
    await this.#commandEnd.begin({ status, writtenAtHostMs });
  }

  /** A disk that cannot be read proves nothing: the look is repeated after a second. */
  #tellFailedLook(thrown: unknown): void {
    if (isWakefulError(thrown) && thrown.retryable) this.#deps.emit("store.degraded", { code: thrown.code, message: thrown.message });
    else this.#tellFailed(thrown);
  }

  #tellFailed(thrown: unknown): void {
    this.#deps.emit("loop.subject_failed", { loop: "worker", subject: `run ${this.runId}`, message: messageOf(thrown) });
  }

  #end(): void {
    if (this.#mode === "over") return;
    this.#mode = "over";
    this.#timeout?.cancel();
    this.#watch?.close();
    this.#stopped.abort();
    this.#finish();
  }
}
