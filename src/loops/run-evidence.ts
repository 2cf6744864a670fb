import type { HostId } from "../domain/ids.ts";
import type { Instant } from "../domain/time.ts";
import type { ExitRecord, LifePipe, ProcessEvidence, Proof, RunEvidence, RunFacts } from "../liveness/evidence.ts";
import type { PipelineRegistry } from "../pipelines/registry.ts";
import { readExitRecord } from "../processes/exit-record.ts";
import type { HostIdentity, ProcessIdentity, ProcessLife, ProcessProbe } from "../processes/identity.ts";
import { probeLifePipe } from "../processes/life-pipe.ts";
import { readCommand } from "../processes/run-files.ts";
import type { LiveRun } from "../store/port/runs.ts";
import { type DataPaths, runDirOf } from "../worker/run-paths.ts";
import type { PresenceBook } from "./presence-book.ts";

export interface EvidenceDeps {
  readonly probe: ProcessProbe;
  readonly host: HostIdentity;
  readonly paths: DataPaths;
  readonly presence: PresenceBook;
  readonly registry: PipelineRegistry;
}

/** One run with all that was observed of it in this tick. */
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

  async observe(run: LiveRun, conflicts: ReadonlySet<HostId>): Promise<ObservedRun> {
    const { probe, host, paths, presence } = this.#deps;
    const local = run.process === null || run.process.hostId === host.hostId;
    const onDisk = run.kind === "command" && local && run.state !== "exited";
    const runDir = runDirOf(paths, run.id);
    const found = onDisk ? await readExitRecord({ runDir, runId: run.id }) : undefined;
    const evidence: RunEvidence = {
      process: await this.#process(run, onDisk),
      lifePipe: onDisk && run.state === "started" ? await lifePipe(runDir) : "unknown",
      exitRecord: found === undefined ? { kind: "none" } : exitRecord(found),
      supervisor: supervisorProof(run, probe),
      report: presence.reportOn({ runId: run.id, workerId: run.workerId, claimSeq: run.claimSeq, reservedAt: run.reservedAt }),
      hostConflict: conflicts.has(run.process?.hostId ?? run.supervisor?.process.hostId ?? host.hostId),
    };
    return { run, facts: this.#factsOf(run), evidence };
  }

  async #process(run: LiveRun, onDisk: boolean): Promise<ProcessEvidence | undefined> {
    const { probe, paths } = this.#deps;
    if (run.kind === "handler") {
      const host = run.supervisor?.process;
      return host === undefined || run.state === "reserved" ? undefined : processEvidence(host, "host", probe.observe(host));
    }
    if (run.process === null) return undefined;
    const isWrapper = run.wrapper !== null && run.process.pid === run.wrapper.pid && run.process.startTime === run.wrapper.startTime;
    // The command's own record comes before any probe: a dead wrapper says nothing of a command that it has started.
    const command = isWrapper && onDisk ? await readCommand({ runDir: runDirOf(paths, run.id), runId: run.id }) : undefined;
    const identity = command ?? run.process;
    return processEvidence(identity, isWrapper && command === undefined ? "wrapper" : "command", probe.observe(identity));
  }

  #factsOf(run: LiveRun): RunFacts {
    const stage = this.#deps.registry.stageOfQueue(run.queue)?.stage;
    return {
      runId: run.id,
      jobId: run.jobId,
      ownerEpoch: run.ownerEpoch,
      state: run.state === "ended" ? "exited" : run.state,
      kind: run.kind,
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

function processEvidence(identity: ProcessIdentity, role: ProcessEvidence["role"], life: ProcessLife): ProcessEvidence {
  const { pid, startTime } = identity;
  if (life.kind !== "unknown") return { pid, startTime, role, life: life.kind };
  const unknownBecause = life.why === "foreign_host" ? "foreignHost" : life.why === "foreign_namespace" ? "otherNamespace" : "probeFailed";
  return { pid, startTime, role, life: "unknown", unknownBecause };
}

/** Silence is no proof; a session that said goodbye, or was buried, will write nothing more. */
function supervisorProof(run: LiveRun, probe: ProcessProbe): Proof {
  const { supervisor } = run;
  if (supervisor === null) return "unknown";
  if (supervisor.state === "stopped" || supervisor.state === "dead") return "dead";
  const life = probe.observe(supervisor.process);
  return life.kind === "alive" || life.kind === "dead" ? life.kind : "unknown";
}

async function lifePipe(runDir: string): Promise<LifePipe> {
  return probeLifePipe(runDir);
}

function exitRecord(record: Awaited<ReturnType<typeof readExitRecord>>): ExitRecord {
  switch (record.kind) {
    case "none":
    case "torn":
      return { kind: record.kind };
    case "foreign":
      return { kind: "torn" };
    case "nogo":
      return { kind: "nogo" };
    case "exit":
      return { kind: "exit", status: record.status };
  }
}

/** Age in milliseconds of a run at `now`, for evidence and listings. */
export const runningAge = (run: LiveRun, now: Instant): number => (run.startedAt === null ? 0 : now - run.startedAt - run.suspendedMs);
