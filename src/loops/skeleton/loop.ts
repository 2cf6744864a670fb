import type { LoopName } from "../../config/loop-names.ts";
import type { DurationMs, Instant } from "../../domain/time.ts";
import type { Emit } from "../../telemetry/events.ts";
import type { LoopReports } from "./loop-reports.ts";

/** A periodic task on the one skeleton (`loop-runner.ts`). */
export interface Loop<Name extends LoopName = LoopName> {
  readonly name: Name;
  /** The switch covers only a part of the tick: the loop ticks with the switch off too, and reads it itself. Default false. */
  readonly ticksWhenDisabled?: boolean | undefined;
  tick(context: TickContext): Promise<TickReport>;
  /** What the loop adds to the snapshot, such as the reaper's `reaped_total`. */
  details(): LoopReports[Name];
  /** Listens for signs of work that are no change of the store. Returns a function that unsubscribes. Absent: there are none. */
  watchHints?(onHint: () => void): () => void;
}

export interface TickContext {
  /** Read once, so that all verdicts of a tick agree on the time. */
  readonly now: Instant;
  readonly signal: AbortSignal;
  /** Whether the kill switch is on. */
  readonly enabled: boolean;
  /** Judge and report, write nothing. */
  readonly dryRun: boolean;
  readonly emit: Emit;
}

export interface TickReport {
  readonly seen: number;
  readonly settled: number;
  /** Flips that another actor won. */
  readonly lost: number;
  readonly failed: number;
  /** Set when more work is left, or something is due before the interval ends. */
  readonly nextInMs?: DurationMs | undefined;
  /** In a dry run, what would have been done, for people. */
  readonly would?: readonly string[] | undefined;
}

export const nothingSeen: TickReport = { seen: 0, settled: 0, lost: 0, failed: 0 };

/** What `/queue` and `/v1/loops` show of a loop. Counters start at zero with the process. */
export interface LoopSnapshot<Name extends LoopName = LoopName> {
  readonly name: Name;
  readonly enabled: boolean;
  readonly running: boolean;
  readonly intervalMs: DurationMs;
  /** Set after each tick, also a failed one. */
  readonly lastRunAt: Instant | null;
  readonly lastSuccessAt: Instant | null;
  readonly lastDurationMs: DurationMs | null;
  readonly lastError: string | null;
  readonly ticks: number;
  readonly failures: number;
  readonly seen: number;
  readonly settled: number;
  readonly lost: number;
  readonly details: LoopReports[Name];
}

/** The snapshot of the loop of this name. */
export const snapshotOf = <Name extends LoopName>(snapshots: readonly LoopSnapshot[], name: Name): LoopSnapshot<Name> | undefined =>
  snapshots.find((each): each is LoopSnapshot<Name> => each.name === name);
