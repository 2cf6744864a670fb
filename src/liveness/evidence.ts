import type { JobId, OwnerEpoch, RunId } from "../domain/ids.ts";
import type { DurationMs, Instant } from "../domain/time.ts";

/** Whether an observed process lives. `otherBoot`: the host was restarted since; `unknown`: no definite answer. */
export type ProcessLife = "alive" | "dead" | "otherBoot" | "unknown";

/** Why a process could not be probed. `probeFailed` is an error of the probe, the other two are permanent for this watcher. */
export type UnprobeableBecause = "foreignHost" | "otherNamespace" | "probeFailed";

/** The life pipe's answer. `released` counts only beside a dead or unprobeable process, because a command may close descriptors. */
export type LifePipe = "held" | "released" | "unknown";

/** A three-valued proof about a process that this watcher may or may not be able to probe. */
export type Proof = "alive" | "dead" | "unknown";

/** How a subject's signs of life reach the judge: sent to this process, written to the store by others, or as files of this host. */
export type Channel = "throughMe" | "throughStore" | "files";

/** What a run's exit record says. `exit` and `nogo` are whole records of this run; `torn` and `foreign` are never believed. */
export type ExitEvidence =
  | { readonly kind: "none" }
  | { readonly kind: "torn" }
  | { readonly kind: "foreign" }
  | { readonly kind: "exit"; readonly status: number }
  | { readonly kind: "nogo" };

/**
 * The limits a run started with. Absent ones come from the thresholds of the tick, except `timeoutMs` and `heartbeatTimeoutMs`, whose
 * absence means none.
 */
export interface JudgedLimits {
  /** Longest awake time of the run, in milliseconds. */
  readonly timeoutMs?: DurationMs | undefined;
  /** The age at which a run is given up whatever the evidence, in milliseconds. */
  readonly maxRunningMs?: DurationMs | undefined;
  /** Longest time without progress, in milliseconds. Before the first progress, twice this since the start. */
  readonly heartbeatTimeoutMs?: DurationMs | undefined;
  /** How long finalising may take after the recorded exit, in milliseconds. 0 is legal. */
  readonly finalizeGraceMs?: DurationMs | undefined;
  /** How long an unreadable gate is read again, in milliseconds. Default 600 000. */
  readonly gatePatienceMs?: DurationMs | undefined;
}

/** What the store knows about one run that has not ended, with the presence of its session. */
export interface RunFacts {
  readonly runId: RunId;
  readonly jobId: JobId;
  readonly ownerEpoch: OwnerEpoch;
  readonly state: "reserved" | "started" | "exited";
  readonly kind: "command" | "handler";
  /** A run of `wakeful run`: it lives by its command alone and is never taken over. Default: false. */
  readonly foreground?: boolean | undefined;
  readonly reservedAt: Instant;
  readonly startedAt?: Instant | undefined;
  /** When the exit was recorded in the store. */
  readonly exitedAt?: Instant | undefined;
  readonly exitCode?: number | undefined;
  readonly limits: JudgedLimits;
  /** Store instant of the newest progress of this very run. */
  readonly lastProgressAt?: Instant | undefined;
  /** How progress arrives, when not through the session's channel. */
  readonly progressChannel?: Channel | undefined;
  /** Recorded suspends of the host since the run's start, in milliseconds; they are not running time. Default 0. */
  readonly suspendedMs?: DurationMs | undefined;
  readonly hasFinaliseSteps: boolean;
  /** When the run's gate was first unreadable. */
  readonly gatePendingAt?: Instant | undefined;
  /** When the gate is to be read again. Absent: at the next look. */
  readonly gateReadAgainAt?: Instant | undefined;
  /** The supervisor's session: when it was last heard (a claim counts) and through which channel. */
  readonly session: { readonly heardAt: Instant; readonly channel: Channel };
}

/** One probe of the run's process. A streak of dead answers counts for one and the same process only. */
export interface ProcessEvidence {
  readonly pid: number;
  /** Start time as the platform gives it; part of the identity. */
  readonly startTime?: string | undefined;
  /** `command`: the command's own process; `host`: the process that hosts a handler; `wrapper`: no command was seen to start. */
  readonly role: "command" | "wrapper" | "host";
  readonly life: ProcessLife;
  readonly unknownBecause?: UnprobeableBecause | undefined;
}

/**
 * What the session says of a run that it claimed. `notNamed`: no renewal has named the run since then. `heardElsewhere`: only another
 * process that lives knows.
 */
export type SessionReport =
  | { readonly kind: "holds"; readonly at: Instant }
  | { readonly kind: "doesNotHold"; readonly at: Instant }
  | { readonly kind: "notNamed"; readonly since: Instant }
  | { readonly kind: "heardElsewhere" };

/** What one tick observed of a run. Each call of `judgeRun` with it counts as one tick. */
export interface RunEvidence {
  /** `elsewhere`: its files are on another host's disk, which alone says how it ended. Absent: here, or it has none. */
  readonly disk?: "elsewhere" | undefined;
  /** Absent: no process is on record. */
  readonly process?: ProcessEvidence | undefined;
  /** The wrapper of a command, which writes the exit record once the command has ended. Absent: not asked, or none on record. */
  readonly wrapper?: ProcessLife | undefined;
  readonly lifePipe: LifePipe;
  readonly exitRecord: ExitEvidence;
  /** The supervisor's process; also `dead` where its session is over. Silence never makes it `dead`. */
  readonly supervisor: ProcessLife;
  readonly report: SessionReport;
  /** Two live sessions share the host id with different boot ids: no pid evidence of this host counts. */
  readonly hostConflict: boolean;
}

/** The evidence without what a host conflict makes worthless: pids, the life pipe, proofs about processes. */
export function trustworthyPart(evidence: RunEvidence): RunEvidence {
  if (!evidence.hostConflict) return evidence;
  const process = evidence.process && { ...evidence.process, life: "unknown" as const, unknownBecause: "foreignHost" as const };
  return { ...evidence, process, wrapper: "unknown", lifePipe: "unknown", supervisor: "unknown" };
}

/**
 * Whether the run must be judged now, before its `check_at`: an end on disk, a process or supervisor not plainly alive, a worker that
 * disowns it. The process of a foreign host is no alarm; only its session's silence counts.
 */
export function isAlarming(evidence: RunEvidence): boolean {
  const { process } = evidence;
  // Its own host looks after it; here only silence counts.
  if (evidence.disk === "elsewhere") return false;
  return (
    evidence.hostConflict ||
    evidence.exitRecord.kind === "exit" ||
    evidence.exitRecord.kind === "nogo" ||
    evidence.supervisor === "dead" ||
    evidence.report.kind === "doesNotHold" ||
    process?.life === "dead" ||
    process?.life === "otherBoot" ||
    (process?.life === "unknown" && process.unknownBecause !== "foreignHost")
  );
}

/** Milliseconds since the run started, without suspended time of its host; 0 when the start is unknown. */
export function runningAgeMs(run: Pick<RunFacts, "startedAt" | "suspendedMs">, now: Instant): DurationMs {
  return run.startedAt === undefined ? 0 : Math.max(0, now - run.startedAt - (run.suspendedMs ?? 0));
}

/** Milliseconds since the exit was recorded; `undefined` when that is unknown. */
export function finishedAgeMs(run: Pick<RunFacts, "exitedAt">, now: Instant): DurationMs | undefined {
  return run.exitedAt === undefined ? undefined : Math.max(0, now - run.exitedAt);
}
