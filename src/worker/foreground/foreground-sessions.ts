import { mkdir, writeFile } from "node:fs/promises";
import { hasCode, isWakefulError, WakefulError } from "../../domain/errors.ts";
import type { JobId, OwnerEpoch, RunId, WorkerId } from "../../domain/ids.ts";
import { runTaskName } from "../../domain/run-task.ts";
import { type DurationMs, days } from "../../domain/time.ts";
import { type DataPaths, runDirOf } from "../../files/data-paths.ts";
import { isSessionOver } from "../../liveness/death-proof.ts";
import type { HostIdentity, ProcessIdentity } from "../../processes/probe/identity.ts";
import { readEndedBy } from "../../processes/run-folder/exit-record.ts";
import { identityRecord, runFiles } from "../../processes/run-folder/run-files.ts";
import { tellCancelled } from "../../settling/tell-ends.ts";
import type { ClaimedRun, Fence, RunLimits } from "../../store/port/runs.ts";
import type { Store } from "../../store/port/store.ts";
import type { Emit } from "../../telemetry/events.ts";
import type { EndAnswer, RunEnding, WorkerBackend } from "../worker-backend.ts";

/** A run of `wakeful run`, as its command line names it, and the fence for writes. */
export interface RunSessionRef {
  readonly workerId: WorkerId;
  readonly runId: RunId;
  readonly ownerEpoch: OwnerEpoch;
}

export interface OpenRunSession {
  /** What runs, for people. */
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

export interface ForegroundSessionsOptions {
  readonly store: Pick<Store, "jobs" | "workers" | "upkeep" | "now">;
  /** Connected so that every session of `wakeful run` is its own, even one that an earlier daemon opened. */
  readonly worker: WorkerBackend;
  readonly host: HostIdentity;
  readonly paths: DataPaths;
  readonly newId: () => string;
  readonly renewMs: DurationMs;
  /** True while free disk is below its limit. */
  readonly diskLow: () => boolean;
  /** Called for a new session. Its opener is answered once this has resolved. */
  readonly onRegistered: () => Promise<void>;
  readonly emit: Emit;
}

/** A person or the command ends the run. This only bounds a forgotten one. */
const runLimits: RunLimits = { maxRunningMs: days(365) };
const actor = "run";
/** Claims of one opening: each takes what a dead opening left in the queue. */
const claimsMax = 20;

/**
 * The daemon's side of `wakeful run`: a session and a run of the built-in task `run`, claimed at birth by that session, never queued or
 * retried. An end not reported is judged by exit record, process and age.
 */
export class ForegroundSessions {
  readonly #options: ForegroundSessionsOptions;
  readonly #worker: WorkerBackend;
  #opening: Promise<unknown> = Promise.resolve();

  constructor(options: ForegroundSessionsOptions) {
    this.#options = options;
    this.#worker = options.worker;
  }

  /**
   * Opens a session with its run. A run is claimed here as any other is.
   *
   * @throws {WakefulError} `bad_request`: not a process of this host. `conflict`: everything is paused. `disk_full`: free disk is below
   * its limits. `unavailable`: another daemon kept taking the job away.
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
        "Free disk is below disk.minFreeBytes or disk.minFreeInodes, and nothing new is started: free some space. What must run now can be run without `wakeful run`.",
      );
    // One after the other, so that two openings do not take each other's job from the queue.
    const opened = this.#opening.then(() => this.#open(request));
    this.#opening = opened.catch(() => undefined);
    return await opened;
  }

  /** reserved -> started, before the command may go. False: the run was ended meanwhile, and its command must not start. */
  async start({ workerId, process, ...run }: RunSessionRef & { readonly process: ProcessIdentity }): Promise<boolean> {
    const start = { ...fenceOf(run), startedAt: this.#worker.now(), wrapper: process, limits: runLimits };
    const [answer] = await ofRunsOnly(this.#worker.start(workerId, [start]));
    return isOurs(answer);
  }

  /** Replaces the command line's process by the command's own, on which the run depends. */
  async recordCommand({ workerId, process, ...run }: RunSessionRef & { readonly process: ProcessIdentity }): Promise<boolean> {
    return isOurs(await ofRunsOnly(this.#worker.command(workerId, { ...fenceOf(run), process })));
  }

  /** Renews its session. Answers why the run is lost, if it is. */
  async renew({ workerId, runId }: RunSessionRef): Promise<{ readonly lost: string | null }> {
    const answer = await ofRunsOnly(this.#worker.renew({ workerId, held: [runId], claimSeqReceived: claimsMax }));
    const lost = answer.lost.find((run) => run.runId === runId);
    if (lost !== undefined) return { lost: lost.why };
    return { lost: isSessionOver(answer.state) ? `its session is ${answer.state}` : null };
  }

  /** The command has ended: 0 is done, anything else failed. Repeatable. False: the run had ended otherwise. */
  async end({ workerId, exitCode, ...run }: RunSessionRef & { readonly exitCode: number }): Promise<boolean> {
    const { runId } = run;
    const endedBy = await readEndedBy({ runDir: runDirOf(this.#options.paths, runId), runId });
    return await this.#endAndLeave(workerId, run, { kind: "exited", exitCode, endedBy });
  }

  /** The command was never started, and must not be started later. */
  async abandon({ workerId, reason, ...run }: RunSessionRef & { readonly reason: string }): Promise<void> {
    await this.#endAndLeave(workerId, run, { kind: "not_started", cause: "abandoned", why: reason });
  }

  async #endAndLeave(workerId: WorkerId, run: Fence, ending: RunEnding): Promise<boolean> {
    const [answer] = await ofRunsOnly(this.#worker.end(workerId, [{ ...fenceOf(run), ending }]));
    await this.#worker.leave(workerId);
    return isOurs(answer);
  }

  async #open({ argv, cwd, process }: OpenRunSession): Promise<OpenedRunSession> {
    const { store, renewMs, newId, onRegistered } = this.#options;
    await store.jobs.ensureQueues([{ name: runTaskName, kind: "command" }]);
    if ((await store.upkeep.pausedQueues()).includes(runTaskName))
      throw new WakefulError("conflict", "Everything is paused, and nothing new is started: `wakeful resume --all` lets it go on.");
    const hello = { helloId: newId(), name: `run@${process.pid}`, kind: "run", process, concurrency: 1, queues: [runTaskName] } as const;
    const workerId = await this.#worker.hello(hello);
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
      await this.#worker.leave(workerId);
      throw thrown;
    }
  }

  /** Takes this session's job and no other: the rest of the queue belongs to openings that go on elsewhere or have died. */
  async #claim(workerId: WorkerId, jobId: JobId): Promise<ClaimedRun> {
    const { store, newId, emit } = this.#options;
    let mine: ClaimedRun | undefined;
    for (let claimSeq = 1; claimSeq <= claimsMax && mine === undefined; claimSeq++) {
      const request = { claimId: newId(), workerId, claimSeq, queues: [{ name: runTaskName, limits: runLimits }], max: 10, startNow: 0 };
      const claimed = await this.#worker.claim(request);
      mine = claimed.find((run) => run.jobId === jobId);
      for (const other of claimed) if (other !== mine) await this.#putAway(workerId, other);
    }
    if (mine === undefined) {
      const reason = "it could not be claimed";
      const cancelled = await store.jobs.cancel(jobId, { actor, reason, stopBy: store.now() });
      if (cancelled !== undefined) tellCancelled(emit, cancelled, { actor, reason });
      throw new WakefulError("unavailable", "The run could not be claimed: other openings kept taking it.");
    }
    return mine;
  }

  async #putAway(workerId: WorkerId, other: ClaimedRun): Promise<void> {
    const opener = await this.#options.store.workers.get(workerOf(other.payload));
    const ending: RunEnding =
      opener?.state === "live"
        ? { kind: "released", why: "claimed by another opening" }
        : { kind: "not_started", cause: "abandoned", why: "its command line ended before it began" };
    await this.#worker.end(workerId, [{ ...fenceOf(other), ending }]);
  }

  async #makeRunDir({ workerId, ...run }: RunSessionRef, process: ProcessIdentity): Promise<string> {
    const { paths, store } = this.#options;
    const { runId } = run;
    const runDir = runDirOf(paths, runId);
    try {
      await mkdir(runDir, { mode: 0o700 });
    } catch (cause) {
      const ending = { kind: "not_started", cause: "abandoned", why: `its folder ${runDir} could not be made` } as const;
      await this.#worker.end(workerId, [{ ...fenceOf(run), ending }]);
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
}

const fenceOf = ({ runId, ownerEpoch }: Fence): Fence => ({ runId, ownerEpoch });

/** Only for sessions of `wakeful run`: a worker renewed or ended under a wrong number would lose what it runs. */
async function ofRunsOnly<Answer>(asked: Promise<Answer>): Promise<Answer> {
  try {
    return await asked;
  } catch (thrown) {
    if (!isWakefulError(thrown) || thrown.code !== "forbidden") throw thrown;
    const { details } = thrown;
    throw new WakefulError("conflict", "The session is a worker's, and not one of `wakeful run`.", { cause: thrown, details });
  }
}

const isOurs = (answer: EndAnswer | undefined): boolean => answer?.kind === "ok" || answer?.kind === "already";

function workerOf(payload: string | null): WorkerId {
  const read = payload === null ? null : (JSON.parse(payload) as unknown);
  // A job that was enqueued by hand has no opener, and no session has this number.
  return (typeof read === "object" && read !== null && "workerId" in read ? Number(read.workerId) : 0) as WorkerId;
}
