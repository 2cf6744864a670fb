import { mkdir, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { isWakefulError, messageOf } from "../domain/errors.ts";
import type { JobId, OwnerEpoch, RunId, WorkerId } from "../domain/ids.ts";
import { addMs, asInstant, type Instant } from "../domain/time.ts";
import type { RunOutcome } from "../liveness/outcome-policy.ts";
import type { StageDefinition } from "../pipelines/definition.ts";
import { commandEnvironment } from "../processes/environment.ts";
import { readExitRecord } from "../processes/exit-record.ts";
import type { HostIdentity, ProcessIdentity } from "../processes/identity.ts";
import type { ProcessTable } from "../processes/process-table.ts";
import { readCommand } from "../processes/run-files.ts";
import { stopTree } from "../processes/stop-tree.ts";
import { findStrays } from "../processes/strays.ts";
import { type RunWatch, watchRun } from "../processes/watch-run.ts";
import { type StartedWrapper, spawnWrapper } from "../processes/wrapper.ts";
import type { WrapperTools } from "../processes/wrapper-tools.ts";
import type { ClaimedRun, LiveRun, RunLimits, Settlement } from "../store/port/runs.ts";
import type { Store } from "../store/store.ts";
import type { Emit } from "../telemetry/events.ts";
import { stageInput } from "./command-input.ts";
import type { Finaliser } from "./finaliser.ts";
import { type DataPaths, itemDirOf, runDirOf } from "./run-paths.ts";
import { readSecrets } from "./secrets.ts";
import { type SettlingContext, settlementOfFailure } from "./settling.ts";

export interface CommandRunDeps {
  readonly store: Pick<Store, "runs" | "items" | "upkeep" | "now">;
  readonly settling: Omit<SettlingContext, "now" | "actor">;
  readonly finaliser: Finaliser;
  readonly paths: DataPaths;
  readonly baseDir: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly host: HostIdentity;
  readonly table: ProcessTable;
  readonly tools: WrapperTools;
  readonly clock: { mono(): number };
  readonly wallNow: () => number;
  readonly emit: Emit;
  readonly firstCheckAt: (startedAt: number, limits: RunLimits) => number;
  /** How long the stopper may take before a block needs a person: stop grace + kill grace + 10 s. */
  readonly stopWithinMs: () => number;
  readonly stopGraceMs: () => number;
  readonly killGraceMs: () => number;
  readonly url: () => string | undefined;
  /** The present session. */
  readonly workerId: () => WorkerId;
  readonly tokenOf: (runId: RunId) => string | undefined;
  /** Sessions of this host: never signalled, nor what is below them. */
  readonly shielded: () => readonly ProcessIdentity[];
}

export const limitsOf = (stage: Pick<StageDefinition, "timeoutMs" | "heartbeat" | "maxRunningMs">): RunLimits => ({
  maxRunningMs: stage.maxRunningMs,
  ...(stage.timeoutMs === undefined ? {} : { timeoutMs: stage.timeoutMs }),
  ...(stage.heartbeat === undefined ? {} : { heartbeatTimeoutMs: stage.heartbeat.timeoutMs }),
});

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
  readonly startedAt: Instant;
  readonly over: Promise<void>;
  readonly #deps: CommandRunDeps;
  #mode: "preparing" | "running" | "finalising" | "over" = "preparing";
  #finish: () => void = () => undefined;
  #watch: RunWatch | undefined;
  #wrapper: ProcessIdentity | undefined;
  #command: ProcessIdentity | undefined;
  #seen: readonly ProcessIdentity[] = [];
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
    this.startedAt = run.startedAt;
    this.over = new Promise((resolve) => {
      this.#finish = resolve;
    });
  }

  /** Starts what was claimed. Resolves once the command may run, or the run is over already. Never rejects. */
  static async begin(deps: CommandRunDeps, claimed: ClaimedRun, stage: StageDefinition): Promise<CommandRun> {
    const item = claimed.itemId === null ? undefined : await deps.store.items.get(claimed.itemId);
    const workDir = item === undefined ? undefined : itemDirOf(deps.paths, item.dir);
    const run = new CommandRun(deps, { ...claimed, startedAt: deps.store.now() }, stage, workDir);
    try {
      await run.#start(claimed, item);
    } catch (thrown) {
      await run.#failToStart(thrown);
    }
    return run;
  }

  /** Carries on a run whose supervisor died; its take-over is written already. */
  static async attach(deps: CommandRunDeps, live: LiveRun, ownerEpoch: OwnerEpoch, stage: StageDefinition): Promise<CommandRun> {
    const item = live.itemId === null ? undefined : await deps.store.items.get(live.itemId);
    const workDir = item === undefined ? undefined : itemDirOf(deps.paths, item.dir);
    const run = new CommandRun(
      deps,
      { runId: live.id, jobId: live.jobId, queue: live.queue, ownerEpoch, startedAt: live.startedAt ?? live.reservedAt },
      stage,
      workDir,
    );
    run.#wrapper = live.wrapper ?? undefined;
    run.#command = live.process ?? undefined;
    run.#mode = live.state === "exited" ? "finalising" : "running";
    run.#observe();
    if (live.state === "exited") void run.#finalise(undefined);
    else run.check();
    return run;
  }

  get runDir(): string {
    return runDirOf(this.#deps.paths, this.runId);
  }

  get running(): boolean {
    return this.#mode === "running";
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

  /** Remembers what the run has started, so that it is found later even when it has left its session and its environment. */
  rememberMembers(): void {
    if (this.#mode !== "running" || this.#command === undefined) return;
    this.#seen = findStrays(this.#tree());
  }

  /** Ends the run for a person's second interrupt: flipped first, stopped after. */
  async settleAs(outcome: RunOutcome, reason: string): Promise<void> {
    const live = await this.#live();
    if (live === undefined) return;
    const { store, settling, stopWithinMs } = this.#deps;
    const now = store.now();
    const settlement = settlementOfFailure(
      live,
      outcome,
      { reason, stopBy: addMs(now, stopWithinMs()), evidence: { startedAt: live.startedAt, now, reason: outcome.reason } },
      { ...settling, now, actor: "worker" },
    );
    await this.#settle(settlement);
  }

  async #start(claimed: ClaimedRun, item: Awaited<ReturnType<Store["items"]["get"]>>): Promise<void> {
    const { store, host, tools, environment, baseDir, emit, firstCheckAt, url, tokenOf } = this.#deps;
    const { stage, runId, workDir } = this;
    if (stage.run.kind !== "command") throw new Error(`Stage ${stage.name} is not run by a command.`);
    if (workDir !== undefined) {
      await mkdir(workDir, { recursive: true, mode: 0o700 });
      // The previous run's file would be a fresh heartbeat of this one (its previous run is proved stopped: else we had no claim).
      await rm(join(workDir, stage.compatible.heartbeatFile), { force: true });
    }
    const runDir = this.runDir;
    const token = tokenOf(runId);
    const daemonUrl = url();
    const env = commandEnvironment({
      workerEnv: environment,
      stageEnv: { ...stage.env, ...(await readSecrets(stage.envFiles, baseDir)) },
      hostId: host.hostId,
      runId,
      jobId: claimed.jobId,
      attempt: claimed.attempt,
      runDir,
      workDir: workDir ?? runDir,
      stage: stage.name,
      ...(item === undefined ? {} : { itemKey: item.key }),
      ...(daemonUrl === undefined ? {} : { url: daemonUrl }),
      ...(token === undefined ? {} : { token }),
    });
    const input = await stageInput(store.items, claimed, item);
    const wrapper = await spawnWrapper({
      runDir,
      runId,
      host,
      tools,
      argv: stage.run.argv,
      env,
      cwd: resolve(baseDir, stage.cwd ?? "."),
      input,
    });
    const startedAt = store.now();
    const limits = limitsOf(stage);
    const [answer] = await this.#committed(wrapper, () =>
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

  /** A wrapper whose start could not be committed must not be let go; its record says `nogo` then. */
  async #committed<T>(wrapper: StartedWrapper, commit: () => Promise<T>): Promise<T> {
    try {
      return await commit();
    } catch (thrown) {
      wrapper.abandon();
      throw thrown;
    }
  }

  async #failToStart(thrown: unknown): Promise<void> {
    const { store, settling, emit } = this.#deps;
    try {
      if (isWakefulError(thrown) && thrown.code === "run_dir_exists")
        await store.upkeep.raiseEpoch(`the folder of run ${this.runId} exists already`);
      const live = await this.#live();
      if (live === undefined || live.state !== "reserved") return;
      const unspent = isWakefulError(thrown) && (thrown.code === "run_dir_exists" || thrown.retryable);
      const reason = `could not be started: ${messageOf(thrown)}`;
      const outcome: RunOutcome = unspent ? { kind: "never_started", reason } : { kind: "failed", reason };
      const context = { ...settling, now: store.now(), actor: "worker" };
      await this.#settle(settlementOfFailure(live, outcome, { reason: "start_failed" }, context));
    } catch (error) {
      // Reserved and never started: the job-reaper ends it unspent.
      emit("loop.subject_failed", { loop: "worker", subject: `run ${this.runId}`, message: messageOf(error) });
    } finally {
      this.#end();
    }
  }

  #observe(): void {
    this.#watch = watchRun({ runDir: this.runDir, onHint: () => this.check() });
    const { timeoutMs } = this.stage;
    if (timeoutMs === undefined) return;
    const age = this.#deps.store.now() - this.startedAt;
    // Node's timers end at 2^31 ms; a longer timeout is the reaper's alone.
    if (timeoutMs - age < 2 ** 31 - 1) this.#timeout = setTimeout(() => void this.#timeOut(), Math.max(0, timeoutMs - age)).unref();
  }

  async #timeOut(): Promise<void> {
    if (this.#mode !== "running") return;
    const live = await this.#live();
    const { timeoutMs } = this.stage;
    if (live === undefined || timeoutMs === undefined || this.#mode !== "running") return;
    // Suspended time does not count; the reaper's own, later look catches what this timer leaves.
    const awakeMs = this.#deps.store.now() - this.startedAt - live.suspendedMs;
    if (awakeMs < timeoutMs) {
      this.#timeout = setTimeout(() => void this.#timeOut(), timeoutMs - awakeMs).unref();
      return;
    }
    await this.settleAs(
      { kind: "timed_out", reason: `running for ${Math.round(awakeMs / 1000)} s, timeout ${Math.round(timeoutMs / 1000)} s` },
      "timeout",
    );
  }

  async #look(): Promise<void> {
    const { runId, runDir } = this;
    const record = await readExitRecord({ runDir, runId });
    if (record.kind === "exit") {
      await this.#exited(record.status, record.writtenAtHostMs);
      return;
    }
    if (record.kind === "nogo") {
      await this.settleAs({ kind: "never_started", reason: "never started: its wrapper got no word", bySessionDeath: true }, "nogo");
      return;
    }
    if (this.#command !== undefined && this.#command.pid !== this.#wrapper?.pid) return;
    const command = await readCommand({ runDir, runId });
    if (command === undefined) return;
    const answer = await this.#deps.store.runs.recordProcess({ runId, ownerEpoch: this.ownerEpoch, process: command });
    if (answer.kind === "ok" || answer.kind === "already") this.#command = command;
    else this.#end();
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
      checkAt: addMs(now, this.stage.finalizeGraceMs),
    });
    if (answer.kind !== "ok" && answer.kind !== "already") {
      // Ended or taken by another meanwhile: the stopper, or the other supervisor, goes on.
      this.#end();
      return;
    }
    this.#mode = "finalising";
    clearTimeout(this.#timeout);
    emit("run.exited", { runId: this.runId, jobId: this.jobId, queue: this.queue, exitCode: status, source: "exit record" });
    await this.#stopStrays(writtenAtHostMs);
    await this.#finalise(status);
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
    this.#command ??= await readCommand({ runDir: this.runDir, runId: this.runId });
    // Both times are of this host's wall clock; the age only tells old processes from new ones.
    const tree = { ...this.#tree(), endedAgoMs: Math.max(0, this.#deps.wallNow() - writtenAtHostMs) };
    const strays = findStrays(tree);
    if (strays.length === 0) return;
    const { emit, clock, stopGraceMs, killGraceMs } = this.#deps;
    emit("run.strays_stopped", { runId: this.runId, jobId: this.jobId, queue: this.queue, pids: strays.map((stray) => stray.pid) });
    await stopTree({
      ...this.#tree(),
      seen: strays,
      clock,
      stopGraceMs: stopGraceMs(),
      killGraceMs: killGraceMs(),
      signal: this.#stopped.signal,
    });
  }

  async #finalise(status: number | undefined): Promise<void> {
    const { store, finaliser, emit } = this.#deps;
    try {
      const live = await this.#live();
      if (live === undefined || live.state !== "exited") {
        this.#end();
        return;
      }
      const evidence = { exitRecord: status ?? live.exitCode, command: this.#command?.pid ?? null };
      const result = await finaliser.finalise(live, { actor: "worker", signal: this.#stopped.signal, evidence });
      if (result.kind === "settle") {
        await this.#settle(result.settlement);
        return;
      }
      await store.runs.recordGatePending({ runId: this.runId, ownerEpoch: this.ownerEpoch, checkAt: addMs(result.readAgainAt, 60_000) });
      emit("run.deferred", { runId: this.runId, jobId: this.jobId, queue: this.queue, reason: result.why });
      this.#gateTimer = setTimeout(() => void this.#finalise(status), Math.max(0, result.readAgainAt - store.now())).unref();
    } catch (thrown) {
      // Recorded as exited, so nothing is lost: tried again soon, and by the job-reaper past its grace.
      emit("loop.subject_failed", { loop: "worker", subject: `run ${this.runId}`, message: messageOf(thrown) });
      if (this.#mode === "finalising") this.#gateTimer = setTimeout(() => void this.#finalise(status), 1000).unref();
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
