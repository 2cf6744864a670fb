import { isWakefulError, messageOf } from "../domain/errors.ts";
import type { JobId, OwnerEpoch, RunId } from "../domain/ids.ts";
import { addMs, asInstant, type Instant } from "../domain/time.ts";
import type { RunOutcome } from "../liveness/outcome-policy.ts";
import type { StageDefinition } from "../pipelines/definition.ts";
import { readExitRecord } from "../processes/exit-record.ts";
import { commandOnRecord, type ProcessIdentity } from "../processes/identity.ts";
import { isZombie } from "../processes/process-stat.ts";
import type { ProcessTable } from "../processes/process-table.ts";
import { readCommand } from "../processes/run-files.ts";
import { findStrays } from "../processes/strays.ts";
import { type RunWatch, watchRun } from "../processes/watch-run.ts";
import type { ClaimedRun, LiveRun, RunLimits, Settlement } from "../store/port/runs.ts";
import type { Store } from "../store/store.ts";
import { type CommandRunDeps, limitsOf } from "./command-run-deps.ts";
import { committedOrAbandoned, prepareCommand } from "./prepare-command.ts";
import { itemDirOf, runDirOf } from "./run-paths.ts";
import { stopStrays } from "./run-strays.ts";
import { neverStartedDeathsBefore, settlementOfFailure } from "./settling.ts";

/** How soon a write that the store refused is tried again. */
const againMs = 1000;

/**
 * One run of a command under this supervisor, from its claim (or its adoption) to its settlement.
 *
 * `preparing` nothing has run; `running` its command is at work; `finalising` its exit is on record; `over` settled, or not ours any more.
 * Every step may be interrupted by the death of this process: what the store and `runs/<id>` hold is enough for the next supervisor.
 */
export class CommandRun {
  readonly runId: RunId;
  readonly jobId: JobId;
  readonly queue: string;
  readonly stage: StageDefinition;
  readonly ownerEpoch: OwnerEpoch;
  readonly workDir: string | undefined;
  readonly over: Promise<void>;
  readonly #deps: CommandRunDeps;
  /** Those it started with, whatever its stage says by now. */
  readonly #limits: RunLimits;
  #startedAt: Instant;
  #mode: "preparing" | "running" | "finalising" | "over" = "preparing";
  #finish: () => void = () => undefined;
  #watch: RunWatch | undefined;
  #wrapper: ProcessIdentity | undefined;
  #command: ProcessIdentity | undefined;
  #seen: readonly ProcessIdentity[] = [];
  /** Something of the run outlived what we could do about it. */
  #leftStrays = false;
  #checking = false;
  #checkAgain = false;
  #timeout: NodeJS.Timeout | undefined;
  #gateTimer: NodeJS.Timeout | undefined;
  readonly #stopped = new AbortController();

  private constructor(
    deps: CommandRunDeps,
    run: {
      readonly runId: RunId;
      readonly jobId: ClaimedRun["jobId"];
      readonly queue: string;
      readonly ownerEpoch: OwnerEpoch;
      readonly startedAt: Instant;
      readonly limits: RunLimits;
    },
    stage: StageDefinition,
    workDir: string | undefined,
  ) {
    this.#deps = deps;
    this.runId = run.runId;
    this.queue = run.queue;
    this.jobId = run.jobId;
    this.ownerEpoch = run.ownerEpoch;
    this.stage = stage;
    this.workDir = workDir;
    this.#startedAt = run.startedAt;
    this.#limits = run.limits;
    this.over = new Promise((resolve) => {
      this.#finish = resolve;
    });
  }

  /** Starts what was claimed. Resolves once the command may run, or the run is over already. Never rejects. */
  static async begin(deps: CommandRunDeps, claimed: ClaimedRun, stage: StageDefinition): Promise<CommandRun> {
    let run: CommandRun | undefined;
    try {
      const item = claimed.itemId === null ? undefined : await deps.store.items.get(claimed.itemId);
      const workDir = item === undefined ? undefined : itemDirOf(deps.paths, item.dir);
      run = new CommandRun(deps, { ...claimed, startedAt: deps.store.now(), limits: limitsOf(stage) }, stage, workDir);
      await run.#start(claimed, item);
    } catch (thrown) {
      run ??= new CommandRun(deps, { ...claimed, startedAt: deps.store.now(), limits: limitsOf(stage) }, stage, undefined);
      await run.#failToStart(thrown);
    }
    return run;
  }

  /**
   * Carries on a run whose supervisor died. Everything that may fail is done before the take-over is written, so that no run is taken over
   * and then looked after by nobody. Undefined: somebody else was first.
   */
  static async adopt(
    deps: CommandRunDeps,
    live: LiveRun,
    stage: StageDefinition,
    takeOver: () => Promise<OwnerEpoch | undefined>,
  ): Promise<CommandRun | undefined> {
    const item = live.itemId === null ? undefined : await deps.store.items.get(live.itemId);
    const workDir = item === undefined ? undefined : itemDirOf(deps.paths, item.dir);
    const ownerEpoch = await takeOver();
    if (ownerEpoch === undefined) return undefined;
    const run = new CommandRun(deps, { ...live, runId: live.id, ownerEpoch, startedAt: live.startedAt ?? live.reservedAt }, stage, workDir);
    run.#wrapper = live.wrapper ?? undefined;
    run.#command = live.process ?? undefined;
    if (live.state === "exited") {
      run.#mode = "finalising";
      void run.#carryOnFinalising();
    } else {
      run.#mode = "running";
      run.#observe();
      run.check();
    }
    return run;
  }

  /** As the store has it; until the start is written, the time of the claim. */
  get startedAt(): Instant {
    return this.#startedAt;
  }

  /** The limit that it is judged by, which is the one it started with. Undefined: no sign of progress is asked for. */
  get heartbeatTimeoutMs(): number | undefined {
    return this.#limits.heartbeatTimeoutMs;
  }

  get runDir(): string {
    return runDirOf(this.#deps.paths, this.runId);
  }

  get running(): boolean {
    return this.#mode === "running";
  }

  get #isOver(): boolean {
    return this.#mode === "over";
  }

  /** Looks at the run's records now. Called on hints and each second; looks never overlap. */
  check(): void {
    if (this.#mode !== "running") return;
    if (this.#checking) {
      this.#checkAgain = true;
      return;
    }
    this.#checking = true;
    this.#look()
      .catch((thrown: unknown) => {
        // The next second looks again; a disk that cannot be read proves nothing.
        if (isWakefulError(thrown) && thrown.retryable) this.#deps.emit("store.degraded", { code: thrown.code, message: thrown.message });
        else this.#deps.emit("loop.subject_failed", { loop: "worker", subject: `run ${this.runId}`, message: messageOf(thrown) });
      })
      .finally(() => {
        this.#checking = false;
        if (this.#checkAgain) {
          this.#checkAgain = false;
          this.check();
        }
      });
  }

  /** Stops looking after the run without touching it: it is lost to us, or left for adoption. */
  leave(): void {
    this.#end();
  }

  /**
   * Remembers what the run has started, so that it is found later even when it has left its session and its environment.
   *
   * @param table - the process table, or one snapshot of it for all runs.
   */
  rememberMembers(table: ProcessTable = this.#deps.table): void {
    if (this.#mode !== "running" || this.#command === undefined) return;
    this.#seen = findStrays({ ...this.#tree(), table });
  }

  /**
   * Ends the run before its command has ended by itself: flipped first, stopped after. A command that turns out to have ended keeps its own
   * outcome, and a run that is not ours any more is left alone.
   */
  async settleAs(outcome: RunOutcome, reason: string): Promise<void> {
    if ((await readExitRecord({ runDir: this.runDir, runId: this.runId })).kind === "exit") {
      this.check();
      return;
    }
    const live = await this.#live();
    if (live === undefined || this.#mode !== "running") return;
    const { store, settling, stopWithinMs } = this.#deps;
    const now = store.now();
    const evidence = { startedAt: live.startedAt, now, reason: outcome.reason };
    const neverStartedDeaths = outcome.kind === "never_started" ? await this.#neverStartedDeaths() : 0;
    const details = { reason, stopBy: addMs(now, stopWithinMs()), evidence, neverStartedDeaths };
    await this.#settle(settlementOfFailure(live, outcome, details, { ...settling, stage: this.stage, now, actor: "worker" }));
  }

  async #neverStartedDeaths(): Promise<number> {
    return neverStartedDeathsBefore(await this.#deps.store.runs.ofJob(this.jobId), this.runId);
  }

  async #start(claimed: ClaimedRun, item: Awaited<ReturnType<Store["items"]["get"]>>): Promise<void> {
    const { store, emit, firstCheckAt } = this.#deps;
    const { stage, runId, runDir, workDir } = this;
    const wrapper = await prepareCommand(this.#deps, claimed, { stage, item, runDir, workDir });
    // What preparing took is not the command's: its limits count from here.
    const startedAt = store.now();
    this.#startedAt = startedAt;
    const limits = this.#limits;
    const [answer] = await committedOrAbandoned(wrapper, () =>
      store.runs.start([
        {
          runId,
          ownerEpoch: this.ownerEpoch,
          startedAt,
          wrapper: wrapper.identity,
          limits,
          checkAt: asInstant(firstCheckAt(startedAt, limits)),
        },
      ]),
    );
    if (answer === undefined || (answer.kind !== "ok" && answer.kind !== "already")) {
      wrapper.abandon();
      this.#end();
      return;
    }
    this.#mode = "running";
    this.#wrapper = wrapper.identity;
    this.#observe();
    wrapper.go();
    void wrapper.exited.then(() => this.check());
    emit("run.started", {
      runId,
      jobId: claimed.jobId,
      queue: claimed.queue,
      attempt: claimed.attempt,
      workerId: this.#deps.workerId(),
      pid: wrapper.identity.pid,
    });
  }

  async #failToStart(thrown: unknown): Promise<void> {
    const { store, settling, emit } = this.#deps;
    try {
      if (isWakefulError(thrown) && thrown.code === "run_dir_exists")
        await store.upkeep.raiseEpoch(`the folder of run ${this.runId} exists already`);
      const live = await this.#live();
      if (live === undefined || live.state !== "reserved") return;
      const reused = isWakefulError(thrown) && thrown.code === "run_dir_exists";
      const unspent = reused || (isWakefulError(thrown) && thrown.retryable);
      const reason = `could not be started: ${messageOf(thrown)}`;
      const outcome: RunOutcome = unspent ? { kind: "never_started", reason, bySessionDeath: !reused } : { kind: "failed", reason };
      const context = { ...settling, stage: this.stage, now: store.now(), actor: "worker" };
      // Bounded like any other start that fails, or a missing folder would make the job go round at full speed for ever.
      const neverStartedDeaths = unspent ? await this.#neverStartedDeaths() : 0;
      const details = { reason: reused ? "run_dir_exists" : "start_failed", neverStartedDeaths };
      await this.#settle(settlementOfFailure(live, outcome, details, context));
    } catch (error) {
      // Reserved and never started: the job-reaper ends it unspent.
      emit("loop.subject_failed", { loop: "worker", subject: `run ${this.runId}`, message: messageOf(error) });
    } finally {
      this.#end();
    }
  }

  #observe(): void {
    this.#watch = watchRun({ runDir: this.runDir, onHint: () => this.check() });
    const { timeoutMs } = this.#limits;
    if (timeoutMs !== undefined) this.#timeOutIn(timeoutMs - (this.#deps.store.now() - this.startedAt));
  }

  #timeOutIn(ms: number): void {
    // Node's timers end at 2^31 ms; a longer timeout is the reaper's alone.
    if (this.#mode === "over" || ms >= 2 ** 31 - 1) return;
    this.#timeout = setTimeout(
      () => {
        this.#timeOut().catch((thrown: unknown) => {
          // The store did not answer. Tried again; the reaper's own, later look catches what this timer leaves.
          this.#deps.emit("loop.subject_failed", { loop: "worker", subject: `run ${this.runId}`, message: messageOf(thrown) });
          this.#timeOutIn(againMs);
        });
      },
      Math.max(0, ms),
    );
    this.#timeout.unref();
  }

  async #timeOut(): Promise<void> {
    if (this.#mode !== "running") return;
    const live = await this.#live();
    const { timeoutMs } = this.#limits;
    if (live === undefined || timeoutMs === undefined || this.#mode !== "running") return;
    // Suspended time does not count.
    const awakeMs = this.#deps.store.now() - this.startedAt - live.suspendedMs;
    if (awakeMs < timeoutMs) {
      this.#timeOutIn(timeoutMs - awakeMs);
      return;
    }
    await this.settleAs(
      { kind: "timed_out", reason: `running for ${Math.round(awakeMs / 1000)} s, timeout ${Math.round(timeoutMs / 1000)} s` },
      "timeout",
    );
  }

  async #look(): Promise<void> {
    const { runId, runDir } = this;
    const record = await readExitRecord({ runDir, runId, commandSeen: this.#commandSeen });
    if (record.kind === "exit") {
      await this.#exited(record.status, record.writtenAtHostMs);
      return;
    }
    if (record.kind === "nogo") {
      await this.settleAs({ kind: "never_started", reason: "never started: its wrapper got no word", bySessionDeath: true }, "nogo");
      return;
    }
    // Dead without a record: the job-reaper says what that means, and when it has, nothing is left to look after.
    if (this.#isGone(this.#command ?? this.#wrapper) && (await this.#live()) === undefined) {
      this.#end();
      return;
    }
    if (this.#commandSeen) return;
    const command = await readCommand({ runDir, runId });
    if (command === undefined || this.#mode !== "running") return;
    const answer = await this.#deps.store.runs.recordProcess({ runId, ownerEpoch: this.ownerEpoch, process: command });
    if (answer.kind === "ok" || answer.kind === "already") this.#command = command;
    else this.#end();
  }

  get #commandSeen(): boolean {
    return commandOnRecord({ process: this.#command ?? null, wrapper: this.#wrapper ?? null }) !== undefined;
  }

  #isGone(process: ProcessIdentity | undefined): boolean {
    if (process === undefined) return false;
    const sight = this.#deps.table.look(process.pid);
    return sight.kind === "absent" || (sight.kind === "seen" && (sight.row.startTime !== process.startTime || isZombie(sight.row)));
  }

  async #exited(status: number, writtenAtHostMs: number): Promise<void> {
    if (this.#mode !== "running") return;
    const { store, emit } = this.#deps;
    const now = store.now();
    // A store that refuses it (a full disk, a lost connection) leaves the run as it is; the next look tries again.
    const answer = await store.runs.recordExit({
      runId: this.runId,
      ownerEpoch: this.ownerEpoch,
      exitCode: status,
      checkAt: addMs(now, this.stage.finalizeGraceMs ?? this.#deps.finalizeGraceMs()),
    });
    if (answer.kind !== "ok" && answer.kind !== "already") {
      // Ended or taken by another meanwhile: the stopper, or the other supervisor, goes on.
      this.#end();
      return;
    }
    if (this.#isOver) return;
    this.#mode = "finalising";
    clearTimeout(this.#timeout);
    if (answer.kind === "ok")
      emit("run.exited", { runId: this.runId, jobId: this.jobId, queue: this.queue, exitCode: status, source: "exit record" });
    await this.#stopStrays(writtenAtHostMs);
    await this.#finalise(status);
  }

  /** An exit that the previous supervisor recorded: its strays may live still. */
  async #carryOnFinalising(): Promise<void> {
    const record = await readExitRecord({ runDir: this.runDir, runId: this.runId }).catch(() => undefined);
    await this.#stopStrays(record?.kind === "exit" ? record.writtenAtHostMs : this.#deps.wallNow());
    await this.#finalise(undefined);
  }

  #tree() {
    const { host, table, shielded } = this.#deps;
    return {
      runId: this.runId,
      host,
      table,
      command: this.#command,
      wrapper: this.#wrapper,
      shielded: shielded(),
      seen: this.#seen,
    };
  }

  async #stopStrays(writtenAtHostMs: number): Promise<void> {
    if (this.stage.strays === "leave") return;
    const { runId, jobId, queue, runDir } = this;
    const signal = this.#stopped.signal;
    const stopped = await stopStrays(this.#deps, { ref: { runId, jobId, queue }, runDir, tree: this.#tree(), writtenAtHostMs, signal });
    this.#command = stopped.command ?? this.#command;
    this.#leftStrays = stopped.left;
  }

  async #finalise(status: number | undefined): Promise<void> {
    const { store, finaliser, emit, stopWithinMs } = this.#deps;
    try {
      if (this.#isOver) return;
      const live = await this.#live();
      if (live === undefined || live.state !== "exited") {
        this.#end();
        return;
      }
      const evidence = { exitRecord: status ?? live.exitCode, command: this.#command?.pid ?? null };
      const result = await finaliser.finalise(live, { actor: "worker", signal: this.#stopped.signal, evidence });
      // Left over it: the gate was not read, and nothing follows from that.
      if (this.#isOver) return;
      if (result.kind === "settle") {
        const stopBy = addMs(store.now(), stopWithinMs());
        await this.#settle(this.#leftStrays ? { ...result.settlement, stopBy } : result.settlement);
        return;
      }
      await store.runs.recordGatePending({ runId: this.runId, ownerEpoch: this.ownerEpoch, checkAt: addMs(result.readAgainAt, 60_000) });
      emit("run.deferred", { runId: this.runId, jobId: this.jobId, queue: this.queue, reason: result.why });
      this.#gateTimer = setTimeout(() => void this.#finalise(status), Math.max(0, result.readAgainAt - store.now())).unref();
    } catch (thrown) {
      // Recorded as exited, so nothing is lost: tried again soon, and by the job-reaper past its grace.
      emit("loop.subject_failed", { loop: "worker", subject: `run ${this.runId}`, message: messageOf(thrown) });
      if (this.#mode === "finalising") this.#gateTimer = setTimeout(() => void this.#finalise(status), againMs).unref();
    }
  }

  async #live(): Promise<LiveRun | undefined> {
    const [live] = await this.#deps.store.runs.listLive([this.runId]);
    return live !== undefined && live.ownerEpoch === this.ownerEpoch ? live : undefined;
  }

  async #settle(settlement: Settlement): Promise<void> {
    const { store, emit } = this.#deps;
    const [answer] = await store.runs.settle([settlement]);
    this.#end();
    const ref = { runId: this.runId, jobId: this.jobId, queue: this.queue };
    if (answer?.kind === "ok") {
      const { outcome, reason, message = "", then, actor = "worker" } = settlement;
      emit("run.ended", { ...ref, outcome, reason, message, jobState: then.to, actor });
    } else if (answer?.kind === "lost") {
      emit("run.late_result", { ...ref, tried: settlement.outcome, why: answer.why });
    }
  }

  #end(): void {
    if (this.#mode === "over") return;
    this.#mode = "over";
    clearTimeout(this.#timeout);
    clearTimeout(this.#gateTimer);
    this.#watch?.close();
    this.#stopped.abort();
    this.#finish();
  }
}
