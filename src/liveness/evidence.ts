import type { JobId, OwnerEpoch, RunId } from "../domain/ids.ts";
import type { DurationMs, Instant } from "../domain/time.ts";

/** Whether an observed process lives. `otherBoot`: the same host has been started again since; `unknown`: no definite answer. */
export type ProcessLife = "alive" | "dead" | "otherBoot" | "unknown";

/** Why a process could not be probed. `probeFailed` is an error of the probe, the other two are permanent for this watcher. */
export type UnprobeableBecause = "foreignHost" | "otherNamespace" | "probeFailed";

/** What the run's life pipe answered. `released` needs a dead or unprobeable process beside it, for a command may close descriptors. */
export type LifePipe = "held" | "released" | "unknown";

/** A three-valued proof about a process that this watcher may or may not be able to probe. */
export type Proof = "alive" | "dead" | "unknown";

/** The way by which a subject's signs of life reach the judge: beats sent to me, beats others write to the store, files of this host. */
export type Channel = "throughMe" | "throughStore" | "files";

/** What a run's exit record says. `exit` and `nogo`: whole, and of this very run; `torn` and `foreign` are believed by nobody. */
export type ExitEvidence =
  | { readonly kind: "none" }
  | { readonly kind: "torn" }
  | { readonly kind: "foreign" }
  | { readonly kind: "exit"; readonly status: number }
  | { readonly kind: "nogo" };

/**
 * The limits a run started with. What is absent comes from the thresholds of the tick, except `timeoutMs` and `heartbeatTimeoutMs`,
 * whose absence means that the stage has none.
 */
export interface JudgedLimits {
  /** Longest awake time of the run, in milliseconds. */
  readonly timeoutMs?: DurationMs | undefined;
  /** The ceiling after which a run is given up whatever else is known, in milliseconds. */
  readonly maxRunningMs?: DurationMs | undefined;
  /** Longest time without progress, in milliseconds; before the first progress it is twice this, since the start. */
  readonly heartbeatTimeoutMs?: DurationMs | undefined;
  /** How long a finaliser may take from the recorded exit on, in milliseconds; 0 is legal. */
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
  /** A run of `wakeful run`: it lives by its command alone, and nobody takes it over. Default: false. */
  readonly foreground?: boolean | undefined;
  readonly reservedAt: Instant;
  readonly startedAt?: Instant | undefined;
  /** When the exit was recorded in the store. */
  readonly exitedAt?: Instant | undefined;
  readonly exitCode?: number | undefined;
  readonly limits: JudgedLimits;
  /** Store instant of the newest progress of this very run. */
  readonly lastProgressAt?: Instant | undefined;
  /** By what way progress arrives, when it is not the session's channel. */
  readonly progressChannel?: Channel | undefined;
  /** Recorded suspends of the run's host since its start, in milliseconds; they do not count as running time. Default 0. */
  readonly suspendedMs?: DurationMs | undefined;
  readonly hasFinaliseSteps: boolean;
  /** When the run's gate was first unreadable. */
  readonly gatePendingAt?: Instant | undefined;
  /** When the gate is to be read again; absent: at the next look. */
  readonly gateReadAgainAt?: Instant | undefined;
  /** The session of the run's supervisor: when it was last heard (a claim counts) and through which channel. */
  readonly session: { readonly heardAt: Instant; readonly channel: Channel };
}

/** One probe of the run's process. A streak of dead answers counts only for one and the same process. */
export interface ProcessEvidence {
  readonly pid: number;
  /** Start time as the platform gives it; part of the identity. */
  readonly startTime?: string | undefined;
  /** `command`: the command's own process; `host`: the process that hosts a handler; `wrapper`: no command was seen to start yet. */
  readonly role: "command" | "wrapper" | "host";
  readonly life: ProcessLife;
  readonly unknownBecause?: UnprobeableBecause | undefined;
}

/** What the run's session says about a run that it claimed. `notNamed`: no beat has named the run since then. */
export type SessionReport =
  | { readonly kind: "holds"; readonly at: Instant }
  | { readonly kind: "doesNotHold"; readonly at: Instant }
  | { readonly kind: "notNamed"; readonly since: Instant };

/** What one tick observed of a run. Each `judgeRun` with it counts as one tick. */
export interface RunEvidence {
  /** Absent: no process is on record. */
  readonly process?: ProcessEvidence | undefined;
  /** Of a command: its wrapper, which writes the exit record once the command has ended. Absent: not asked, or none on record. */
  readonly wrapper?: ProcessLife | undefined;
  readonly lifePipe: LifePipe;
  readonly exitRecord: ExitEvidence;
  /** The process of the run's supervisor, `dead` also where its session is over; silence is never `dead` here. */
  readonly supervisor: ProcessLife;
  readonly report: SessionReport;
  /** Two live sessions share the host id but not the boot id: no pid evidence of this host may be used. */
  readonly hostConflict: boolean;
}

/** The evidence without what a host conflict makes worthless: pids, the pipe found under this host's path, proofs about processes. */
export function trustworthyPart(evidence: RunEvidence): RunEvidence {
  if (!evidence.hostConflict) return evidence;
  const process = evidence.process && { ...evidence.process, life: "unknown" as const, unknownBecause: "foreignHost" as const };
  return { ...evidence, process, wrapper: "unknown", lifePipe: "unknown", supervisor: "unknown" };
}

/**
 * Whether the observation alone calls for a judgement now, before the run's `check_at`: an end on disk, a process or supervisor that is not
 * plainly alive, a worker that disowns the run. A process of a foreign host is no alarm; only its session's silence tells.
 */
export function isAlarming(evidence: RunEvidence): boolean {
  const { process } = evidence;
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

/** Milliseconds since the run started, suspended time of its host left out; 0 when the start is unknown. */
export function runningAgeMs(run: Pick<RunFacts, "startedAt" | "suspendedMs">, now: Instant): DurationMs {
  return run.startedAt === undefined ? 0 : Math.max(0, now - run.startedAt - (run.suspendedMs ?? 0));
}

/** Milliseconds since the exit was recorded, or `undefined` when that is unknown. */
export function finishedAgeMs(run: Pick<RunFacts, "exitedAt">, now: Instant): DurationMs | undefined {
  return run.exitedAt === undefined ? undefined : Math.max(0, now - run.exitedAt);
}
