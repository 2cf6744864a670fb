import { readdir } from "node:fs/promises";
import { messageOf } from "../domain/errors.ts";
import type { RunId } from "../domain/ids.ts";
import { runTaskName } from "../domain/run-task.ts";
import type { DurationMs } from "../domain/time.ts";
import { type DataPaths, runDirOf } from "../files/data-paths.ts";
import { isSessionOver } from "../liveness/death-proof.ts";
import type { RunOutcome } from "../liveness/retry-contract.ts";
import { spreadDelayMs } from "../liveness/retry-delay.ts";
import { commandOnRecord, type HostIdentity, type ProcessIdentity, type ProcessProbe } from "../processes/probe/identity.ts";
import type { ProcessTable } from "../processes/probe/process-table.ts";
import { readExitRecord } from "../processes/run-folder/exit-record.ts";
import { probeLifePipe } from "../processes/run-folder/life-pipe.ts";
import { readCommand, readStarted, runIdOfDirectory } from "../processes/run-folder/run-files.ts";
import { stopTree } from "../processes/stopping/stop-tree.ts";
import type { RunEnder, RunFailure } from "../settling/run-ender.ts";
import type { LiveRun } from "../store/port/runs.ts";
import type { Store } from "../store/port/store.ts";
import type { Emit } from "../telemetry/events.ts";

export interface AdoptionDeps {
  readonly store: Pick<Store, "runs" | "now">;
  readonly probe: ProcessProbe;
  readonly table: ProcessTable;
  readonly host: HostIdentity;
  readonly paths: DataPaths;
  readonly clock: { mono(): number };
  readonly ender: Pick<RunEnder, "end">;
  readonly emit: Emit;
  readonly enabled: boolean;
  readonly adopt: (run: LiveRun, why: string) => Promise<boolean>;
  readonly stopGraceMs: DurationMs;
  readonly killGraceMs: DurationMs;
  /** Where more than 100 runs are requeued, the jobs of those beyond come back spread over this long. */
  readonly recoverySpreadMs: DurationMs;
  readonly shielded: () => readonly ProcessIdentity[];
}

export interface AdoptionReport {
  readonly adopted: number;
  /** Jobs that wait again; what its budget ended is not among them. */
  readonly requeued: number;
  readonly stopped: number;
}

const pageSize = 500;

/**
 * Start-up: adopt or requeue the command runs of this host whose supervisor is proved dead. An exit on disk, or a process or life pipe that
 * lives, is taken over; what is proved dead ends as lost; what cannot be proved is left to the job-reaper. Runs of living supervisors and of
 * other hosts are not touched. With adoption off all of them but those with an exit on disk are stopped and queued again. Last, processes of runs that the store does not hold (a restored store) are stopped.
 */
export async function adoptOrRequeue(deps: AdoptionDeps): Promise<AdoptionReport> {
  let adopted = 0;
  const lost: LostRun[] = [];
  const failed = (run: LiveRun, thrown: unknown): void => {
    // The job-reaper judges it like any other run.
    deps.emit("loop.subject_failed", { loop: "adoption", subject: `job ${run.jobId}`, message: messageOf(thrown) });
  };
  let after: RunId | undefined;
  for (;;) {
    const page: readonly LiveRun[] = await deps.store.runs.listAllLive({
      limit: pageSize,
      hostId: deps.host.hostId,
      ...(after === undefined ? {} : { after }),
    });
    for (const run of page) {
      // A foreground command of `wakeful run` is no worker's: it goes on by itself, and the job-reaper finds its end.
      if (run.kind !== "command" || run.queue === runTaskName || run.state === "reserved" || !supervisorIsDead(run, deps.probe)) continue;
      try {
        const what = await adoptOrLose(run, deps);
        if (what === "adopted") adopted++;
        else if (what !== "left") lost.push(what);
      } catch (thrown) {
        failed(run, thrown);
      }
    }
    after = page.at(-1)?.id;
    if (page.length < pageSize) break;
  }
  // One event: how its jobs are spread depends on how many there are.
  let requeued = 0;
  for (const [index, one] of lost.entries()) {
    try {
      const spreadMs = spreadDelayMs({ index, total: lost.length, recoverySpreadMs: deps.recoverySpreadMs });
      if (await requeue(one, spreadMs, deps)) requeued++;
    } catch (thrown) {
      failed(one.run, thrown);
    }
  }
  return { adopted, requeued, stopped: await stopUnknown(deps) };
}

function supervisorIsDead(run: LiveRun, probe: ProcessProbe): boolean {
  const { supervisor } = run;
  if (supervisor === null || isSessionOver(supervisor.state)) return true;
  const life = probe.observe(supervisor.process).kind;
  return life === "dead" || life === "otherBoot";
}

/** A run that ended with its supervisor, or must: what is settled of it, and why. */
interface LostRun {
  readonly run: LiveRun;
  readonly failure: RunFailure & { readonly mayStillLive: boolean };
}

async function adoptOrLose(run: LiveRun, deps: AdoptionDeps): Promise<"adopted" | "left" | LostRun> {
  const runDir = runDirOf(deps.paths, run.id);
  const record = await readExitRecord({ runDir, runId: run.id, commandSeen: commandOnRecord(run) !== undefined });
  if (run.state === "exited" || record.kind === "exit") {
    // Outcome known, whatever became of everything else (1x before adoption and requeue).
    return (await deps.adopt(run, "its exit is on record, its supervisor is dead")) ? "adopted" : "left";
  }
  const recorded = await readCommand({ runDir, runId: run.id });
  const command = recorded ?? run.process;
  const life = command === null ? { kind: "unknown" as const } : deps.probe.observe(command);
  // A command that died a moment ago: its wrapper is writing down how, and whoever adopts it reads that.
  const isEnding = life.kind === "dead" && run.wrapper !== null && deps.probe.observe(run.wrapper).kind === "alive";
  const pipe = await probeLifePipe(runDir);
  const lives = life.kind === "alive" || isEnding || (pipe === "held" && life.kind !== "dead");
  if (lives && deps.enabled) {
    const why =
      life.kind === "alive" || isEnding
        ? `pid ${(isEnding ? run.wrapper : command)?.pid} is alive, its supervisor is dead`
        : "its life pipe is held, its supervisor is dead";
    return (await deps.adopt(run, why)) ? "adopted" : "left";
  }
  if (!lives && life.kind !== "dead" && life.kind !== "otherBoot") return "left";
  // The wrapper died, or was told nothing, before anything of the command was executed.
  const isWrapper = recorded === undefined && command !== null && run.wrapper !== null && command.pid === run.wrapper.pid;
  // That no command is on record says something only where the records are: a command may have removed its own folder.
  const isWrapperAlone = isWrapper && (await readStarted({ runDir, runId: run.id })) !== undefined;
  const neverStarted = record.kind === "nogo" || (isWrapperAlone && life.kind === "dead" && pipe !== "held");
  const outcome: RunOutcome = neverStarted
    ? { kind: "never_started", reason: "never started: its supervisor died before its command ran", bySessionDeath: true }
    : deps.enabled
      ? { kind: "lost", reason: `its supervisor and pid ${command?.pid} are dead` }
      : requeuedBecauseOff(lives, command?.pid);
  const failure = {
    outcome,
    reason: record.kind === "nogo" ? "nogo" : neverStarted ? "wrapper_dead" : deps.enabled ? "supervisor_dead" : "adoption_off",
    evidence: { process: command, life: life.kind, lifePipe: pipe, exitRecord: record.kind, supervisor: run.supervisor },
    mayStillLive: lives || pipe === "held",
  };
  return { run, failure };
}

/**
 * Without adoption a start makes every running job queued again, and what could have been gone on with has spent nothing. Where the command died
 * together with its daemon it may have been the cause, so that this is free only a few times in a row.
 */
function requeuedBecauseOff(lives: boolean, pid: number | undefined): RunOutcome {
  return lives
    ? { kind: "released", reason: "its supervisor died, and adoption is off" }
    : { kind: "released", reason: `its supervisor and pid ${pid} are dead, and adoption is off`, bySessionDeath: true };
}

/** True: its job waits again. What its budget ended, or somebody else, is no requeue. */
async function requeue({ run, failure }: LostRun, spreadMs: DurationMs, deps: AdoptionDeps): Promise<boolean> {
  // It may have ended while the others were looked at: then the job-reaper reads how.
  const { mayStillLive } = failure;
  if (mayStillLive && (await readExitRecord({ runDir: runDirOf(deps.paths, run.id), runId: run.id })).kind === "exit") return false;
  const ended = await deps.ender.end(run, { ...failure, spreadMs }, { actor: "adoption" });
  return ended.kind === "ended" && ended.jobState === "queued";
}

/**
 * Stops what `runs/` shows to live but the store has never heard of: newer than a restored store. Not what a run that ended by itself has left
 * to live on (`strays: leave`) and that has outlived the run's row.
 */
async function stopUnknown(deps: AdoptionDeps): Promise<number> {
  const names = await readdir(deps.paths.runsDir);
  const found = names.map(runIdOfDirectory).filter((id): id is RunId => id !== undefined);
  const unknown: RunId[] = [];
  for (const runId of found) {
    // Cheap and sure for the thousands of folders of ended runs: nothing holds their pipes.
    if ((await probeLifePipe(runDirOf(deps.paths, runId))) !== "held" || (await deps.store.runs.get(runId)) !== undefined) continue;
    if (!(await wasForgotten(runId, deps))) unknown.push(runId);
  }
  // Together, because each may take its whole grace, and nothing is claimed before.
  return (await Promise.all(unknown.map((runId) => stopOne(runId, deps)))).filter(Boolean).length;
}

/** Ended, settled, and its row removed by retention since: no backup is older than it. */
async function wasForgotten(runId: RunId, { paths, store }: AdoptionDeps): Promise<boolean> {
  const record = await readExitRecord({ runDir: runDirOf(paths, runId), runId });
  return record.kind === "exit" && (await store.runs.isFollowed(runId));
}

async function stopOne(runId: RunId, deps: AdoptionDeps): Promise<boolean> {
  const runDir = runDirOf(deps.paths, runId);
  try {
    const command = await readCommand({ runDir, runId });
    const wrapper = await readStarted({ runDir, runId });
    const { stopped } = await stopTree({
      runId,
      host: deps.host,
      table: deps.table,
      clock: deps.clock,
      runDir,
      stopGraceMs: deps.stopGraceMs,
      killGraceMs: deps.killGraceMs,
      shielded: deps.shielded(),
      ...(command === undefined ? {} : { command }),
      ...(wrapper === undefined ? {} : { wrapper }),
    });
    if (!stopped)
      deps.emit("loop.subject_failed", {
        loop: "adoption",
        subject: `run ${runId}`,
        message: "it is unknown to the store and survives KILL",
      });
    return stopped;
  } catch (thrown) {
    deps.emit("loop.subject_failed", { loop: "adoption", subject: `run ${runId}`, message: messageOf(thrown) });
    return false;
  }
}
