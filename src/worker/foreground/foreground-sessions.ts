import { mkdir, writeFile } from "node:fs/promises";
import { hasCode, WakefulError } from "../../domain/errors.ts";
import type { JobId, OwnerEpoch, RunId, WorkerId } from "../../domain/ids.ts";
import { runTaskName } from "../../domain/run-task.ts";
import { addMs, type DurationMs, hours } from "../../domain/time.ts";
import { type DataPaths, runDirOf } from "../../files/data-paths.ts";
import { isSessionOver } from "../../liveness/death-proof.ts";
import { explainExitCode } from "../../liveness/exit-policy.ts";
import type { RunOutcome } from "../../liveness/retry-contract.ts";
import type { HostIdentity, ProcessIdentity } from "../../processes/probe/identity.ts";
import { identityRecord, runFiles } from "../../processes/run-folder/run-files.ts";
import type { RunEnder } from "../../settling/run-ender.ts";
import { type Ended, tellCancelled } from "../../settling/tell-ends.ts";
import { firstChecks } from "../../store/jobs/claim-rules.ts";
import type { ClaimedRun, FencedAnswer, LiveRun, RunLimits } from "../../store/port/runs.ts";
import type { Store } from "../../store/port/store.ts";
import type { Emit } from "../../telemetry/events.ts";

/** A run of `wakeful run`, as its command line names it: what it may write to. */
export interface RunSessionRef {
  readonly workerId: WorkerId;
  readonly runId: RunId;
  readonly ownerEpoch: OwnerEpoch;
}

export interface OpenRunSession {
  /** For people: what runs. */
  readonly argv: readonly string[];
  readonly cwd: string;
  /** The command line's own process, on the daemon's host. */
  readonly process: ProcessIdentity;
}

export interface OpenedRunSession extends RunSessionRef {
  readonly jobId: JobId;
  /** `runs/<id>`, absolute; made, and holding the opener's identity. */
  readonly runDir: string;
  /** How often it is to be renewed. */
  readonly renewMs: DurationMs;
}

export interface RunSessionsOptions {
  readonly store: Pick<Store, "jobs" | "runs" | "workers" | "upkeep" | "now">;
  readonly host: HostIdentity;
  readonly paths: DataPaths;
  readonly ender: RunEnder;
  readonly newId: () => string;
  readonly renewMs: DurationMs;
  /** Free disk is below its limit. */
  readonly diskLow: () => boolean;
  readonly finalizeGraceMs: () => DurationMs;
  /** A session is new; its opener is not answered before this resolves. */
  readonly onRegistered: () => Promise<void>;
  /** A session was heard from. */
  readonly onRenewed: (renewal: {
    readonly workerId: WorkerId;
    readonly held: readonly RunId[];
    readonly claimSeqReceived: number;
  }) => void;
  readonly emit: Emit;
}

/** It ends when a person or its command ends it; this only bounds what is forgotten. */
const runLimits: RunLimits = { maxRunningMs: hours(24 * 365) };
const actor = "run";
/** Claims of one opening: each takes away what another, dead opening left in the queue. */
const claimsMax = 20;

/**
 * The daemon's side of `wakeful run`: a session and a run of the built-in task `run`, claimed at birth by that session, ended by it, and
 * never queued or retried. What its command line does not live to write is judged by exit record, process and age alone.
 */
export class RunSessions {
  readonly #options: RunSessionsOptions;
  #opening: Promise<unknown> = Promise.resolve();

  constructor(options: RunSessionsOptions) {
    this.#options = options;
  }

  /**
   * @throws {WakefulError} `bad_request`: not a process of this host. `conflict`: everything is paused. `disk_full`: free disk is below
   * `disk.minFreeBytes`, and a run is claimed here as any other is. `unavailable`: another daemon kept
   * taking the job away.
   */
  async open(request: OpenRunSession): Promise<OpenedRunSession> {
    const { host } = this.#options;
    const { process, argv } = request;
    if (argv.length === 0) throw new WakefulError("bad_request", "A command has at least its program.");
    if (process.hostId !== host.hostId || process.bootId !== host.bootId)
      throw new WakefulError("bad_request", "wakeful run works on the host of its daemon alone.");
    if (this.#options.diskLow())
      throw new WakefulError(
        "disk_full",
        "Free disk is below disk.minFreeBytes, and nothing new is started: free some space. What must run now can be run without `wakeful run`.",
      );
    // One after the other, so that two openings do not take each other's job from the queue.
    const opened = this.#opening.then(() => this.#open(request));
    this.#opening = opened.catch(() => undefined);
    return await opened;
  }

  /** reserved -> started, before the command may go. False: the run was ended meanwhile, and the command must not be started. */
  async start({ workerId, runId, ownerEpoch, process }: RunSessionRef & { readonly process: ProcessIdentity }): Promise<boolean> {
    await this.#refuseOthers(workerId);
    const { runs, now } = this.#verbs();
    const startedAt = now();
    const checkAt = firstChecks.firstCheckAt(startedAt, runLimits);
    const [answer] = await runs.start([{ runId, ownerEpoch, startedAt, wrapper: process, limits: runLimits, checkAt }]);
    return isOurs(answer);
  }

  /** The command's own process takes the place of its command line's: it is what the run lives by. */
  async recordCommand({ runId, ownerEpoch, process }: RunSessionRef & { readonly process: ProcessIdentity }): Promise<boolean> {
    return isOurs(await this.#verbs().runs.recordProcess({ runId, ownerEpoch, process }));
  }

  /** Presence. Answers why the run is lost, when it is. */
  async renew({ workerId, runId }: RunSessionRef): Promise<{ readonly lost: string | null }> {
    await this.#refuseOthers(workerId);
    const renewal = { workerId, held: [runId], claimSeqReceived: claimsMax };
    const answer = await this.#options.store.workers.renew(renewal);
    const lost = answer.lost.find((run) => run.runId === runId);
    if (lost !== undefined) return { lost: lost.why };
    if (isSessionOver(answer.state)) return { lost: `its session is ${answer.state}` };
    this.#options.onRenewed(renewal);
    return { lost: null };
  }

  /** Records the exit, then settles by its code alone: 0 is done, anything else failed. Repeatable. Answers false when the run had ended otherwise. */
  async end({ workerId, runId, ownerEpoch, exitCode }: RunSessionRef & { readonly exitCode: number }): Promise<boolean> {
    const { store, finalizeGraceMs, ender, emit } = this.#options;
    await this.#refuseOthers(workerId);
    const now = store.now();
    const recorded = await store.runs.recordExit({ runId, ownerEpoch, exitCode, checkAt: addMs(now, finalizeGraceMs()) });
    const live = isOurs(recorded) ? await this.#live(runId, ownerEpoch) : undefined;
    if (live === undefined) {
      await this.#leave(workerId);
      const stored = await store.runs.get(runId);
      return stored?.ownerEpoch === ownerEpoch && stored.exitCode === exitCode;
    }
    emit("run.exited", { runId, jobId: live.jobId, queue: runTaskName, exitCode, source: "wakeful run" });
    const evidence = { exitCode };
    const failed = (): RunOutcome => ({ kind: "failed", disposition: "fail", reason: explainExitCode(exitCode) });
    const ended =
      exitCode === 0
        ? await ender.endWell(live, { reason: "exit0_no_item", exitCode, evidence }, { actor })
        : await ender.end(live, { outcome: failed(), reason: "exit_code", exitCode, evidence }, { actor });
    await this.#leave(workerId);
    return isOurs(ended);
  }

  /** Its command was never started: nobody is to start it later. */
  async abandon({ workerId, runId, ownerEpoch, reason }: RunSessionRef & { readonly reason: string }): Promise<void> {
    await this.#refuseOthers(workerId);
    const live = await this.#live(runId, ownerEpoch);
    if (live !== undefined) await this.#cancel(live, reason);
    await this.#leave(workerId);
  }

  #verbs() {
    const { store } = this.#options;
    return { runs: store.runs, now: () => store.now() };
  }

  async #open({ argv, cwd, process }: OpenRunSession): Promise<OpenedRunSession> {
    const { store, emit, renewMs, newId, onRegistered } = this.#options;
    await store.jobs.ensureQueues([{ name: runTaskName, kind: "command" }]);
    if ((await store.upkeep.pausedQueues()).includes(runTaskName))
      throw new WakefulError("conflict", "Everything is paused, and nothing new is started: `wakeful resume --all` lets it go on.");
    const workerId = await store.workers.register({
      name: `run@${process.pid}`,
      kind: "run",
      process,
      concurrency: 1,
      queues: [runTaskName],
    });
    emit("worker.registered", { workerId, kind: "run", pid: process.pid });
    try {
      await onRegistered();
      const payload = JSON.stringify({ argv, cwd, workerId });
      const [jobId] = await store.jobs.enqueue({ queue: runTaskName, maxAttempts: 1, jobs: [{ payload, enqueueId: newId() }] });
      if (jobId === undefined) throw new WakefulError("internal", "An enqueued job has no id.");
      const { runId, ownerEpoch } = await this.#claim(workerId, jobId);
      const ref: RunSessionRef = { workerId, runId, ownerEpoch };
      const runDir = await this.#makeRunDir(ref, process);
      return { ...ref, jobId, runDir, renewMs };
    } catch (thrown) {
      await this.#leave(workerId);
      throw thrown;
    }
  }

  /** Takes this session's job and no other: what else lies in the queue belongs to an opening that is going on elsewhere, or that died. */
  async #claim(workerId: WorkerId, jobId: JobId): Promise<ClaimedRun> {
    const { store, newId, emit } = this.#options;
    let mine: ClaimedRun | undefined;
    for (let claimSeq = 1; claimSeq <= claimsMax && mine === undefined; claimSeq++) {
      const request = { claimId: newId(), workerId, claimSeq, queues: [{ name: runTaskName, limits: runLimits }], max: 10, startNow: 0 };
      const claimed = await store.runs.claim(request);
      mine = claimed.find((run) => run.jobId === jobId);
      for (const other of claimed) if (other !== mine) await this.#putAway(other);
    }
    if (mine === undefined) {
      const reason = "it could not be claimed";
      const cancelled = await store.jobs.cancel(jobId, { actor, reason, stopBy: store.now() });
      if (cancelled !== undefined) tellCancelled(emit, cancelled, { actor, reason });
      throw new WakefulError("unavailable", "The run could not be claimed: other openings kept taking it.");
    }
    return mine;
  }

  async #putAway(other: ClaimedRun): Promise<void> {
    const { store, ender } = this.#options;
    const live = await this.#live(other.runId, other.ownerEpoch);
    if (live === undefined) return;
    const opener = await store.workers.get(workerOf(other.payload));
    if (opener?.state === "live") {
      const { runId, ownerEpoch, jobId } = other;
      const back = {
        outcome: "released",
        reason: "released",
        message: "claimed by another opening",
        retry: { jitter: 0 },
        actor,
      } as const;
      await ender.write(live, { runId, ownerEpoch, jobId, ...back });
    } else {
      await this.#cancel(live, "its command line ended before it began");
    }
  }

  async #makeRunDir({ runId, ownerEpoch }: RunSessionRef, process: ProcessIdentity): Promise<string> {
    const { paths, store } = this.#options;
    const runDir = runDirOf(paths, runId);
    try {
      await mkdir(runDir, { mode: 0o700 });
    } catch (cause) {
      const live = await this.#live(runId, ownerEpoch);
      if (live !== undefined) await this.#cancel(live, `its folder ${runDir} could not be made`);
      if (hasCode(cause, "EEXIST")) {
        await store.upkeep.raiseEpoch(`the folder of run ${runId} exists already`);
        throw new WakefulError("unavailable", `The store is older than its run folders; its ids continue in a new range now. Try again.`, {
          cause,
        });
      }
      throw cause;
    }
    await writeFile(runFiles(runDir).started, identityRecord(runId, process), { mode: 0o600, flush: true });
    return runDir;
  }

  async #cancel(live: LiveRun, reason: string): Promise<void> {
    await this.#options.ender.end(live, { outcome: { kind: "cancelled", reason }, reason: "never_began" }, { actor });
  }

  async #live(runId: RunId, ownerEpoch: OwnerEpoch): Promise<LiveRun | undefined> {
    const [live] = await this.#options.store.runs.listLive([runId]);
    return live?.ownerEpoch === ownerEpoch && live.queue === runTaskName ? live : undefined;
  }

  /** A worker's session is its own: renewed or ended under a wrong number, it would lose what it runs. One that is forgotten harms nobody. */
  async #refuseOthers(workerId: WorkerId): Promise<void> {
    const worker = await this.#options.store.workers.get(workerId);
    if (worker !== undefined && worker.kind !== "run")
      throw new WakefulError("conflict", `Session ${workerId} is a worker's, and not one of \`wakeful run\`.`, { details: { workerId } });
  }

  async #leave(workerId: WorkerId): Promise<void> {
    if (await this.#options.store.workers.leave(workerId)) this.#options.emit("worker.left", { workerId });
  }
}

const isOurs = (answer: FencedAnswer | Ended | undefined): boolean =>
  answer?.kind === "ok" || answer?.kind === "ended" || answer?.kind === "already";

function workerOf(payload: string | null): WorkerId {
  const read = payload === null ? null : (JSON.parse(payload) as unknown);
  // What was enqueued by hand has no opener, and no session has this number.
  return (typeof read === "object" && read !== null && "workerId" in read ? Number(read.workerId) : 0) as WorkerId;
}
