import type { RunId } from "../domain/ids.ts";
import { addMs, ageMs, type DurationMs, type Instant, seconds } from "../domain/time.ts";
import { diedWithEarlierBoot } from "./death-proof.ts";
import { isAlarming, type RunEvidence, type RunFacts, runningAgeMs, trustworthyPart } from "./evidence.ts";
import { absentTimeoutFor, isHeartbeatStale } from "./heartbeat-policy.ts";
import { ceilingAt, earliest, latest, nextCheckAt, progressOf, startOf, wholeExit } from "./run-check-time.ts";
import { deadTicksNeeded, finalizeGraceOf, gatePatienceOf, maxRunningOf, type RunThresholds } from "./run-thresholds.ts";
import { isSilent, silentNotBefore, type VantageView } from "./vantage.ts";
import { deadAfterIn } from "./vantage-mode.ts";
import type { NeverStarted, RunVerdict } from "./verdict.ts";

/** What a judge remembers of one run between ticks. Losing it only delays a verdict. */
export interface RunMemory {
  /** Consecutive dead answers about `process`. */
  readonly deadStreak: number;
  /** Which process the streak is about. */
  readonly process?: string | undefined;
  /** When the first of these answers came. */
  readonly deadSince?: Instant | undefined;
  /** Since when the run was seen alive without a supervisor. */
  readonly orphanedSince?: Instant | undefined;
  /** The first renewal in a row that did not name the run, which has started. */
  readonly unnamedSince?: Instant | undefined;
}

export const emptyRunMemory: RunMemory = { deadStreak: 0 };

/** Drops what is remembered of runs that are no longer among the live ones. */
export function forgetEnded(memories: Map<RunId, RunMemory>, live: ReadonlySet<RunId>): void {
  for (const runId of memories.keys()) if (!live.has(runId)) memories.delete(runId);
}

/** How soon a run is judged again whose limit has passed while the watcher may have been deaf. */
const doubtRecheckMs: DurationMs = seconds(1);

interface Case {
  readonly run: RunFacts;
  readonly seen: RunEvidence;
  readonly memory: RunMemory;
  readonly thresholds: RunThresholds;
  readonly vantage: VantageView;
  readonly now: Instant;
}

/**
 * Judges one run that has not ended by the table of docs/verdicts.md: first match wins, timeout and ceiling also while another row waits.
 * Pure. Each call counts as one look: call it once per observation and keep its memory.
 */
export function judgeRun(
  run: RunFacts,
  evidence: RunEvidence,
  memory: RunMemory | undefined,
  thresholds: RunThresholds,
  vantage: VantageView,
  now: Instant,
): { readonly verdict: RunVerdict; readonly memory: RunMemory } {
  const seen = trustworthyPart(evidence);
  const remembered = remember(run, seen, memory ?? emptyRunMemory, now);
  const subject: Case = { run, seen, memory: remembered, thresholds, vantage, now };
  const byEvidence = judgeByEvidence(subject);
  const settles = byEvidence !== undefined && !deferring.has(byEvidence.kind);
  const verdict = settles ? byEvidence : (judgeByAge(subject) ?? byEvidence ?? leaveAlone(subject));
  return { verdict, memory: remembered };
}

const deferring: ReadonlySet<RunVerdict["kind"]> = new Set(["suspect", "defer", "orphaned_adopt", "leave_alone"]);

function remember(run: RunFacts, seen: RunEvidence, before: RunMemory, now: Instant): RunMemory {
  // A recorded exit outweighs any pid: it clears the streak.
  if (run.state === "exited") return emptyRunMemory;
  const orphanedSince = isOrphaned(run, seen) ? (before.orphanedSince ?? now) : undefined;
  const disowned = disownedAt(run, seen);
  const unnamedSince = disowned === undefined ? undefined : (before.unnamedSince ?? disowned);
  const { process } = seen;
  if (process === undefined) return { deadStreak: 0, orphanedSince, unnamedSince };
  const name = `${process.pid}/${process.startTime ?? ""}`;
  const streakBefore = before.process === name ? before.deadStreak : 0;
  // `unknown` neither counts as a death nor resets the streak.
  const deadStreak = process.life === "dead" ? streakBefore + 1 : process.life === "unknown" ? streakBefore : 0;
  const deadSince = deadStreak === 0 ? undefined : streakBefore === 0 ? now : (before.deadSince ?? now);
  return { deadStreak, process: name, deadSince, orphanedSince, unnamedSince };
}

/**
 * When its session last said that it does not hold this started run of a handler. A claim whose answer may be on its way, or an answer from
 * before a handler blocked its process, says nothing.
 */
function disownedAt(run: RunFacts, { report }: RunEvidence): Instant | undefined {
  if (run.kind !== "handler" || run.state !== "started" || report.kind !== "doesNotHold") return undefined;
  return report.at > startOf(run) ? report.at : undefined;
}

/** How long a living wrapper may take to record its dead command's end: disks may be full or slow, machines starved. */
const recordWithinMs: DurationMs = seconds(10);

/** The command is dead and its end is being recorded: a verdict now would call a known outcome unknown. */
function isBeingRecorded({ seen, memory, now }: Case): boolean {
  return seen.wrapper === "alive" && ageMs(memory.deadSince ?? now, now) < recordWithinMs;
}

function isOrphaned(run: RunFacts, seen: RunEvidence): boolean {
  const livesHere = seen.process?.life === "alive" || (seen.lifePipe === "held" && seen.process?.life !== "dead");
  return run.foreground !== true && run.state === "started" && livesHere && seen.supervisor === "dead";
}

function judgeByEvidence(subject: Case): RunVerdict | undefined {
  const { run, seen } = subject;
  if (seen.disk === "elsewhere") return judgeFromAfar(subject);
  if (run.state === "exited") return judgeFinaliser(subject);
  if (seen.exitRecord.kind === "exit") return { kind: "record_exit", reason: "exit_on_disk", status: seen.exitRecord.status };
  if (seen.exitRecord.kind === "nogo") return neverStarted(subject, { reason: "nogo", bySessionDeath: true });
  return run.state === "reserved" ? judgeReserved(subject) : judgeStarted(subject);
}

/** How often a run of an absent host is looked at, so that its own timeout is noticed. */
const afarRecheckMs: DurationMs = seconds(30);

/**
 * Row 1h of docs/verdicts.md. What it is, and how it ended, is on its host's disk: that host returns and carries on, and only its long silence
 * ends the run. What lives by the word of this kernel is never given up.
 */
function judgeFromAfar({ run, seen, thresholds, vantage, now }: Case): RunVerdict {
  const limitMs = deadAfterIn(vantage.mode, thresholds.pinnedHostLostMs);
  const { channel, heardAt } = run.session;
  const { silent, silence } = isSilent(vantage, { channel, lastHeardAt: heardAt, limitMs, now });
  const { silentMs, deafMs } = silence;
  if (silent && seen.process?.life !== "alive")
    return { kind: "dead", outcome: "unknown", reason: "host_silent", silentMs, deafMs, limitMs };
  const recheckAt = latest(addMs(now, 1), earliest(addMs(now, afarRecheckMs), silentNotBefore(silence, limitMs, now)));
  return { kind: "leave_alone", reason: "of_another_host", nextCheckAt: silent ? addMs(now, afarRecheckMs) : recheckAt };
}

/** Tier 2 of docs/verdicts.md. Once the gate was unreadable, the gate's patience replaces the grace. */
function judgeFinaliser(subject: Case): RunVerdict | undefined {
  const { run, seen, thresholds, vantage, now } = subject;
  const exit = wholeExit(run);
  if (exit === undefined) return undefined;
  const { exitCode, exitedAt } = exit;
  const limitMs = finalizeGraceOf(run, thresholds);
  const { silent, silence } = isSilent(vantage, { channel: run.session.channel, lastHeardAt: exitedAt, limitMs, now });
  const provedDead = seen.supervisor === "dead";
  const finaliserDeadAt = provedDead || silent ? now : silentNotBefore(silence, limitMs, now);
  if (run.gatePendingAt !== undefined) return judgePendingGate(subject, { exitCode, gatePendingAt: run.gatePendingAt, finaliserDeadAt });
  if (finaliserDeadAt > now) {
    const recheckAt = earliest(finaliserDeadAt, ceilingAt(run, thresholds));
    return { kind: "defer", reason: "finalising", exitCode, ageMs: silence.silentMs, limitMs, recheckAt };
  }
  const reason = provedDead ? "finaliser_dead" : "finalize_grace_over";
  return { kind: run.hasFinaliseSteps ? "take_over" : "exited_known", reason, exitCode, ageMs: silence.silentMs, limitMs };
}

function judgePendingGate(
  subject: Case,
  gate: { readonly exitCode: number; readonly gatePendingAt: Instant; readonly finaliserDeadAt: Instant },
): RunVerdict {
  const { run, now } = subject;
  const { exitCode } = gate;
  const limitMs = gatePatienceOf(run);
  const ageOfDoubtMs = ageMs(gate.gatePendingAt, now);
  const known = { kind: "exited_known", exitCode, ageMs: ageOfDoubtMs, limitMs } as const;
  if (ageOfDoubtMs >= limitMs) return { ...known, reason: "gate_patience_over" };
  // While the finaliser may live, the readings are its own. Afterwards they are ours, each when it is due.
  const oursAt = latest(gate.finaliserDeadAt, run.gateReadAgainAt ?? now);
  if (oursAt <= now) return { ...known, reason: "gate_due" };
  const recheckAt = earliest(oursAt, addMs(gate.gatePendingAt, limitMs));
  return { kind: "defer", reason: "gate_pending", exitCode, ageMs: ageOfDoubtMs, limitMs, recheckAt };
}

/** Rows 0, 1s, 1 and 1w of docs/verdicts.md for a reserved run: nothing was executed, so nothing is spent. */
function judgeReserved(subject: Case): RunVerdict | undefined {
  const { run, seen, memory, thresholds, vantage, now } = subject;
  if (isOtherBoot(subject)) return neverStarted(subject, { reason: "other_boot", bySessionDeath: true });
  if (seen.report.kind === "doesNotHold") return neverStarted(subject, { reason: "not_held", bySessionDeath: false });
  if (seen.supervisor === "dead") return neverStarted(subject, { reason: "session_dead", bySessionDeath: true });
  const limitMs = thresholds.startWithinMs;
  const session = sessionSilence(subject);
  const unnamed = isSilent(vantage, { channel: run.session.channel, lastHeardAt: namedAtOf(subject), limitMs, now });
  if (unnamed.silent) return neverStarted(subject, { reason: "not_named", bySessionDeath: session.silent, limitMs });
  if (seen.process?.life === "dead") {
    const { pid } = seen.process;
    const of = deadTicksNeeded(thresholds);
    if (memory.deadStreak >= of) return neverStarted(subject, { reason: "dead_pid", bySessionDeath: true, pid });
    return suspect(subject, { pid, of });
  }
  return session.silent ? neverStarted(subject, { reason: "session_silent", bySessionDeath: true, limitMs: session.limitMs }) : undefined;
}

function judgeStarted(subject: Case): RunVerdict | undefined {
  const { run, seen, memory, thresholds, now } = subject;
  const { process, lifePipe } = seen;
  if (isOtherBoot(subject)) {
    const sinceHeardMs = ageMs(run.session.heardAt, now);
    return { kind: "dead", outcome: "unknown", reason: "other_boot", sinceHeardMs, limitMs: thresholds.deadAfterMs };
  }
  if (process?.life === "unknown" && process.unknownBecause === "otherNamespace" && lifePipe === "released") {
    return { kind: "dead", outcome: "unknown", reason: "life_pipe_released" };
  }
  if (process?.life === "dead") {
    const { pid } = process;
    const of = deadTicksNeeded(thresholds);
    if (memory.deadStreak < of || isBeingRecorded(subject)) return suspect(subject, { pid, of });
    // A wrapper that died without a command executed nothing, unless something that it started holds the pipe.
    if (process.role === "wrapper" && lifePipe !== "held")
      return neverStarted(subject, { reason: "wrapper_dead", bySessionDeath: true, pid });
    return { kind: "dead", outcome: "unknown", reason: "dead_pid", pid, streak: memory.deadStreak, of, lifePipe };
  }
  if (memory.orphanedSince !== undefined) return judgeOrphan(subject, memory.orphanedSince);
  const session = sessionSilence(subject);
  if (session.silent) {
    const { silentMs, deafMs } = session.silence;
    return { kind: "dead", outcome: "unknown", reason: "session_silent", silentMs, deafMs, limitMs: session.limitMs };
  }
  return judgeUnnamed(subject) ?? judgeProgress(subject);
}

/** Row 1n: the store has forgotten its end, or its claim never arrived. Renewals are counted and not the clock: silence is another row's. */
function judgeUnnamed({ run, seen, memory, thresholds }: Case): RunVerdict | undefined {
  const heardAt = disownedAt(run, seen);
  if (heardAt === undefined || memory.unnamedSince === undefined) return undefined;
  const limitMs = thresholds.startWithinMs;
  const unnamedMs = ageMs(memory.unnamedSince, heardAt);
  return unnamedMs >= limitMs ? { kind: "forgotten", reason: "not_named", unnamedMs, limitMs } : undefined;
}

function judgeOrphan(subject: Case, orphanedSince: Instant): RunVerdict {
  const { thresholds, vantage, now } = subject;
  const limitMs = thresholds.adoptWithinMs;
  const waited = isSilent(vantage, { channel: "files", lastHeardAt: orphanedSince, limitMs, now });
  const waitedMs = waited.silence.silentMs;
  if (waited.silent) return { kind: "stop_then_dead", reason: "not_adopted", waitedMs, limitMs };
  const recheckAt = silentNotBefore(waited.silence, limitMs, now);
  return { kind: "orphaned_adopt", reason: "supervisor_dead", waitedMs, limitMs, recheckAt };
}

/** Row 0h. The heartbeat rule gets the age after vantage. */
function judgeProgress(subject: Case): RunVerdict | undefined {
  const { run, vantage, now } = subject;
  const timeoutMs = run.limits.heartbeatTimeoutMs;
  const startedAt = startOf(run);
  // Stryker disable next-line ConditionalExpression: nothing exceeds a limit that is undefined
  if (timeoutMs === undefined) return undefined;
  const progressAt = progressOf(run);
  const limitMs = progressAt === undefined ? absentTimeoutFor(timeoutMs) : timeoutMs;
  const channel = run.progressChannel ?? run.session.channel;
  const silence = vantage.silence({ channel, lastHeardAt: progressAt ?? startedAt, limitMs, now });
  const heartbeat = progressAt === undefined ? { absentFor: silence.silentMs } : { age: silence.silentMs };
  const stale = isHeartbeatStale(heartbeat, { timeout: timeoutMs, absentTimeout: absentTimeoutFor(timeoutMs) });
  if (!stale || !silence.earned || vantage.mode === "frozen") return undefined;
  const reason = progressAt === undefined ? "progress_absent" : "progress_stale";
  return { kind: "hung", reason, silentMs: silence.silentMs, deafMs: silence.deafMs, limitMs };
}

/** Rows 0t and 3 of docs/verdicts.md: they need time awake and no evidence. */
function judgeByAge(subject: Case): RunVerdict | undefined {
  const { run, seen, thresholds, now } = subject;
  // Its result can only be read where it is.
  if (seen.disk === "elsewhere" && run.state === "exited") return undefined;
  // Once the gate was unreadable, its patience replaces the ceiling.
  if (run.gatePendingAt !== undefined && wholeExit(run) !== undefined) return undefined;
  const ageOfRunMs = runningAgeMs({ ...run, startedAt: startOf(run) }, now);
  const { timeoutMs = Number.POSITIVE_INFINITY } = run.limits;
  // An exited run kept its timeout or was stopped at it. Its finaliser has a limit of its own.
  if (run.state === "started" && ageOfRunMs > timeoutMs + thresholds.reaperTimeoutSlackMs) {
    return { kind: "timed_out", reason: "timeout", ageMs: ageOfRunMs, limitMs: timeoutMs };
  }
  const ceilingMs = maxRunningOf(run, thresholds);
  if (ageOfRunMs < ceilingMs) return undefined;
  if (run.state === "reserved") return neverStarted(subject, { reason: "age_ceiling", bySessionDeath: false, limitMs: ceilingMs });
  return { kind: "over_age", reason: "age_ceiling", ageMs: ageOfRunMs, ceilingMs, exitCode: run.exitCode };
}

function leaveAlone(subject: Case): RunVerdict {
  const { run, seen, thresholds, now } = subject;
  const found = { namedAt: namedAtOf(subject), lookedAt: now, provedAlive: seen.process?.life === "alive" };
  const at = nextCheckAt(run, thresholds, found);
  // With an alarm the next look is soon anyway. Without one, a passed limit means that the silence did not count.
  if (at > now && !isAlarming(seen)) return { kind: "leave_alone", reason: "no_limit_reached", nextCheckAt: at };
  const soon = addMs(now, doubtRecheckMs);
  return { kind: "leave_alone", reason: at > now ? "no_limit_reached" : "doubted", nextCheckAt: at > now ? earliest(at, soon) : soon };
}

function suspect(subject: Case, options: { readonly pid: number; readonly of: number }): RunVerdict {
  const recheckAt = addMs(subject.now, Math.max(1, subject.thresholds.suspectRecheckMs));
  return { kind: "suspect", reason: "dead_pid", pid: options.pid, streak: subject.memory.deadStreak, of: options.of, recheckAt };
}

function neverStarted(subject: Case, why: Omit<NeverStarted, "kind" | "ageMs">): NeverStarted {
  return { kind: "never_started", ageMs: ageMs(subject.run.reservedAt, subject.now), ...why };
}

function isOtherBoot({ run, seen, thresholds, now }: Case): boolean {
  const { hostConflict, process } = seen;
  return diedWithEarlierBoot({ life: process?.life ?? "unknown", heardAt: run.session.heardAt, hostConflict }, thresholds, now);
}

/** Row 1w: only where nothing of the run can be probed. Silence never ends what is proved alive (decision 0006). */
function sessionSilence({ run, seen, thresholds, vantage, now }: Case): ReturnType<typeof isSilent> & { readonly limitMs: DurationMs } {
  const limitMs = deadAfterIn(vantage.mode, thresholds.deadAfterMs);
  const { channel, heardAt } = run.session;
  const answer = isSilent(vantage, { channel, lastHeardAt: heardAt, limitMs, now });
  const provedAlive = seen.process?.life === "alive" || seen.lifePipe === "held" || seen.supervisor === "alive";
  return { ...answer, silent: answer.silent && !provedAlive, limitMs };
}

function namedAtOf({ run, seen }: Pick<Case, "run" | "seen">): Instant {
  const named = seen.report.kind === "notNamed" ? seen.report.since : seen.report.at;
  return latest(named, run.reservedAt);
}
