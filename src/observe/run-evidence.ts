import type { HostId } from "../domain/ids.ts";
import { runTaskName } from "../domain/run-task.ts";
import { type DataPaths, runDirOf } from "../files/data-paths.ts";
import { isSessionOver } from "../liveness/death-proof.ts";
import type {
  ExitEvidence,
  LifePipe,
  ProcessEvidence,
  RunEvidence,
  RunFacts,
  SessionReport,
  UnprobeableBecause,
} from "../liveness/evidence.ts";
import type { PipelineRegistry } from "../pipelines/registry.ts";
import {
  commandOnRecord,
  type HostIdentity,
  type ProbeAnswer,
  type ProcessIdentity,
  type ProcessProbe,
  type UnknownBecause,
} from "../processes/probe/identity.ts";
import { readExitRecord } from "../processes/run-folder/exit-record.ts";
import { probeLifePipe } from "../processes/run-folder/life-pipe.ts";
import { readCommand, readStarted } from "../processes/run-folder/run-files.ts";
import type { LiveRun } from "../store/port/runs.ts";
import type { PresenceRegistry } from "./session-presence.ts";

export interface EvidenceDeps {
  readonly probe: ProcessProbe;
  readonly host: HostIdentity;
  readonly paths: DataPaths;
  readonly presence: PresenceRegistry;
  /** The other daemons of the store. */
  readonly daemons: { isLiving(hostId: HostId): boolean };
  readonly registry: PipelineRegistry;
}

/** One run with all that this tick observed of it. */
export interface ObservedRun {
  readonly run: LiveRun;
  readonly facts: RunFacts;
  readonly evidence: RunEvidence;
}

/** Gathers the evidence about runs: processes, life pipes, exit records, what sessions say. Writes nothing. */
export class RunObserver {
  readonly #deps: EvidenceDeps;

  constructor(deps: EvidenceDeps) {
    this.#deps = deps;
  }

  /** @param probe - this tick's probe, so that every run rests on the same answers. */
  async observe(run: LiveRun, conflicts: ReadonlySet<HostId>, probe: ProcessProbe = this.#deps.probe): Promise<ObservedRun> {
    const { host } = this.#deps;
    const onDisk = this.#isOnDisk(run) && run.state !== "exited";
    // The process is probed before the record is read: a command that ends in between has left its record by then.
    const process = await this.#process(run, onDisk, probe);
    const evidence: RunEvidence = {
      disk: this.#isElsewhere(run) ? "elsewhere" : undefined,
      process,
      wrapper: onDisk && process?.role === "command" && run.wrapper !== null ? probe.observe(run.wrapper).kind : undefined,
      lifePipe: onDisk && run.state === "started" ? await this.lifePipeOf(run) : "unknown",
      exitRecord: onDisk ? await this.exitRecordOf(run) : { kind: "none" },
      supervisor: this.supervisorOf(run, probe),
      report: this.#reportOn(run),
      hostConflict: conflicts.has(run.process?.hostId ?? run.supervisor?.process.hostId ?? host.hostId),
    };
    return { run, facts: this.#factsOf(run), evidence };
  }

  /**
   * What its session says of the run. One that is heard by another living daemon, or that writes to the store itself, says it there alone:
   * that it was not heard here proves nothing.
   */
  #reportOn({ id: runId, workerId, claimSeq, reservedAt, supervisor }: LiveRun): SessionReport {
    const { host, presence, daemons } = this.#deps;
    if (workerId !== null && supervisor !== null && supervisor.via !== host.hostId) {
      const { via } = supervisor;
      const elsewhere = via === null ? !presence.hasHeard(workerId) : daemons.isLiving(via);
      if (elsewhere) return { kind: "heardElsewhere" };
    }
    return presence.reportOn({ runId, workerId, claimSeq, reservedAt });
  }

  /** The supervisor's process, dead where its session is over. Neither silence nor a missing session is proof. */
  supervisorOf({ supervisor }: LiveRun, probe: ProcessProbe = this.#deps.probe): RunEvidence["supervisor"] {
    if (supervisor === null) return "unknown";
    return isSessionOver(supervisor.state) ? "dead" : probe.observe(supervisor.process).kind;
  }

  /** The exit record of a command run of this host; none for any other. */
  async exitRecordOf(run: LiveRun): Promise<ExitEvidence> {
    if (!this.#isOnDisk(run)) return { kind: "none" };
    const commandSeen = commandOnRecord(run) !== undefined;
    return await readExitRecord({ runDir: runDirOf(this.#deps.paths, run.id), runId: run.id, commandSeen });
  }

  /** Whether a command run of this host still holds its life pipe; unknown for any other. */
  async lifePipeOf(run: LiveRun): Promise<LifePipe> {
    return this.#isOnDisk(run) ? await probeLifePipe(runDirOf(this.#deps.paths, run.id)) : "unknown";
  }

  /** Of an item that another host's daemon runs: work directory, records and gate are there. */
  #isElsewhere(run: LiveRun): boolean {
    return run.kind === "command" && run.itemId !== null && run.process !== null && !this.#isOnDisk(run);
  }

  #isOnDisk(run: LiveRun): boolean {
    return run.kind === "command" && (run.process === null || run.process.hostId === this.#deps.host.hostId);
  }

  async #process(run: LiveRun, onDisk: boolean, probe: ProcessProbe): Promise<ProcessEvidence | undefined> {
    const { paths } = this.#deps;
    if (run.kind === "handler") {
      const host = run.supervisor?.process;
      return host === undefined || run.state === "reserved" ? undefined : processEvidence(host, "host", probe.observe(host));
    }
    if (run.process === null) return undefined;
    const isWrapper = commandOnRecord(run) === undefined;
    // The command's own record comes before any probe: a dead wrapper says nothing of a command that it started.
    const files = { runDir: runDirOf(paths, run.id), runId: run.id };
    const command = isWrapper && onDisk ? await readCommand(files) : undefined;
    const identity = command ?? run.process;
    // A missing command record proves that none began only if the wrapper's is there: a command may remove its own folder.
    const isWrapperAlone = isWrapper && command === undefined && !(onDisk && (await readStarted(files)) === undefined);
    return processEvidence(identity, isWrapperAlone ? "wrapper" : "command", probe.observe(identity));
  }

  #factsOf(run: LiveRun): RunFacts {
    const stage = this.#deps.registry.stageOfQueue(run.queue)?.stage;
    return {
      runId: run.id,
      jobId: run.jobId,
      ownerEpoch: run.ownerEpoch,
      state: run.state === "ended" ? "exited" : run.state,
      kind: run.kind,
      foreground: run.queue === runTaskName,
      reservedAt: run.reservedAt,
      startedAt: run.startedAt ?? undefined,
      exitedAt: run.exitedAt ?? undefined,
      exitCode: run.exitCode ?? undefined,
      limits: { ...run.limits, finalizeGraceMs: stage?.finalizeGraceMs, gatePatienceMs: stage?.gatePatienceMs },
      lastProgressAt: run.progressAt ?? undefined,
      progressChannel: run.kind === "command" ? "files" : undefined,
      suspendedMs: run.suspendedMs,
      hasFinaliseSteps: false,
      gatePendingAt: run.gatePendingAt ?? undefined,
      session: { heardAt: run.supervisor?.lastHeardAt ?? run.reservedAt, channel: "throughMe" },
    };
  }
}

const unprobeableBecause: Readonly<Record<UnknownBecause, UnprobeableBecause>> = {
  foreign_host: "foreignHost",
  foreign_namespace: "otherNamespace",
  invalid_identity: "probeFailed",
  unreadable: "probeFailed",
};

function processEvidence(identity: ProcessIdentity, role: ProcessEvidence["role"], answer: ProbeAnswer): ProcessEvidence {
  const { pid, startTime } = identity;
  if (answer.kind !== "unknown") return { pid, startTime, role, life: answer.kind };
  return { pid, startTime, role, life: "unknown", unknownBecause: unprobeableBecause[answer.why] };
}
