import type { RunOutcome } from "../../src/domain/lifecycles/run.ts";
import { groupBy } from "./group-by.ts";
import type { Execution } from "./ledger.ts";

/** Ends of runs that a fault explains, beside success and beside runs that never started. */
export interface ExplainedEnds {
  readonly outcomes: readonly RunOutcome[];
  /** Only of the runs that the fault says it hit; else of any run of this kind of work. */
  readonly ofHarmed?: boolean;
  /** All that such a run may have spent. */
  readonly spends?: "nothing";
}

/** What was handed in and accepted. */
export interface Accepted {
  /** Such as `job 12` or `item 3 (k3)`. */
  readonly name: string;
  /** How it must end. `failed`: for a reason of its own, which its handler or command gave. */
  readonly ends: "done" | "failed" | "cancelled";
  /** Its state in the store; undefined: the store does not know it. */
  readonly state: string | undefined;
  /** The store will not change it any more by itself. */
  readonly final: boolean;
  /** Why it waits or has failed, as the store says. */
  readonly why: string;
  readonly jobs: readonly number[];
}

/** A run's row. */
export interface RunRow {
  readonly id: number;
  readonly job: number;
  readonly kind: "command" | "handler";
  readonly state: string;
  readonly outcome: RunOutcome | undefined;
  readonly reason: string | undefined;
  readonly message: string | undefined;
  /** Of its job's budget. */
  readonly spent: "nothing" | "attempt" | "loss" | undefined;
}

/** All that one point left behind. */
export interface Observed {
  readonly accepted: readonly Accepted[];
  readonly runs: readonly RunRow[];
  readonly executions: readonly Execution[];
  /** The job ids of all that this world has ever accepted. */
  readonly knownJobs: ReadonlySet<number>;
  readonly explained: readonly { readonly commands?: ExplainedEnds | undefined; readonly handlers?: ExplainedEnds | undefined }[];
  /** Runs that a fault hit itself. */
  readonly harmed: ReadonlySet<number>;
  /** Jobs that fail for a reason of their own. */
  readonly ownFailures: ReadonlySet<number>;
  /** What the store's own check says. */
  readonly breaches: readonly string[];
  /** Processes of commands that live although their run has ended. */
  readonly leftAlive: readonly string[];
}

/** What does not hold, in plain words; empty: the point is clean. */
export function judge(observed: Observed): readonly string[] {
  return [
    ...lostOrInLimbo(observed),
    ...executedByNobody(observed),
    ...doubled(observed),
    ...inventedOrWasted(observed),
    ...unexplainedEnds(observed),
    ...observed.breaches.map((breach) => `the store contradicts itself: ${breach}`),
    ...observed.leftAlive,
  ];
}

function lostOrInLimbo({ accepted }: Observed): readonly string[] {
  return accepted.flatMap(({ name, ends, state, final, why }) => {
    if (state === undefined) return [`${name} was accepted, and the store does not know it`];
    if (!final && state !== "held") return [`${name} is still ${state} past its bound: ${why}`];
    return state === ends ? [] : [`${name} is ${state}, and must end ${ends}: ${why}`];
  });
}

function executedByNobody({ executions, runs, knownJobs }: Observed): readonly string[] {
  const rows = new Set(runs.map(({ id }) => id));
  return executions.flatMap((execution) => {
    if (!knownJobs.has(execution.job)) return [`${textOf(execution)} was executed, and nobody handed that job in`];
    return rows.has(execution.run) ? [] : [`${textOf(execution)} was executed, and the store has no such run`];
  });
}

/** A job may be executed again only after a run whose row says why it did not count. */
function doubled({ executions, runs }: Observed): readonly string[] {
  const rows = new Map(runs.map((run) => [run.id, run]));
  return [...groupBy(executions, ({ job }) => job).values()].flatMap((ofJob) => {
    const inOrder = [...ofJob].sort((a, b) => a.beganAt - b.beganAt || a.run - b.run);
    return inOrder.flatMap((execution, at) => {
      const before = inOrder[at - 1];
      return before === undefined ? [] : secondOf(before, execution, rows.get(before.run));
    });
  });
}

function secondOf(before: Execution, execution: Execution, row: RunRow | undefined): readonly string[] {
  if (before.run === execution.run) return [`${textOf(execution)} was executed twice: by process ${before.pid} and by ${execution.pid}`];
  if (row === undefined) return [];
  const found: string[] = [];
  if (row.outcome === "succeeded") found.push(`${textOf(execution)} was executed although ${textOf(before)} had succeeded`);
  else if (row.outcome === undefined || (row.reason ?? "") === "")
    found.push(`${textOf(execution)} was executed, and no verdict says why ${textOf(before)} did not count (${verdictOf(row)})`);
  if (before.endedAt !== undefined && before.endedAt > execution.beganAt)
    found.push(`${textOf(execution)} began at ${execution.beganAt} s while ${textOf(before)} was at work until ${before.endedAt} s`);
  return found;
}

/** A success that no work stands behind; work of a run that is said never to have started. */
function inventedOrWasted({ executions, runs }: Observed): readonly string[] {
  const byRun = groupBy(executions, ({ run }) => run);
  return runs.flatMap((row) => {
    const [execution] = byRun.get(row.id) ?? [];
    if (row.outcome === "succeeded" && (execution?.endedAt === undefined || execution.stopped))
      return [`run ${row.id} of job ${row.job} succeeded, and its ledger has no end of it`];
    // A handler's start is written with the next group, so that it may have begun; a command waits for its start.
    if (row.outcome === "never_started" && row.kind === "command" && execution !== undefined)
      return [`run ${row.id} of job ${row.job} never started (${row.reason ?? ""}), and process ${execution.pid} executed it`];
    return [];
  });
}

/** A job that ends its own process is lost by its own doing. */
const ownEnds: ReadonlySet<RunOutcome> = new Set(["failed", "gate_red", "cancelled", "lost", "released"]);

function unexplainedEnds({ runs, explained, harmed, ownFailures }: Observed): readonly string[] {
  return runs.flatMap((row) => {
    const outcome = chargedOutcome(row);
    if (outcome === undefined || outcome === "succeeded") return [];
    if (ownFailures.has(row.job) && ownEnds.has(outcome)) return [];
    const explains = explained.some((fault) => {
      const ends = row.kind === "command" ? fault.commands : fault.handlers;
      return (
        ends?.outcomes.includes(outcome) === true &&
        (ends.ofHarmed !== true || harmed.has(row.id)) &&
        (ends.spends === undefined || row.spent === ends.spends)
      );
    });
    return explains
      ? []
      : [`the ${row.kind} of run ${row.id} of job ${row.job} ended as ${verdictOf(row)}, which the fault does not explain`];
  });
}

/** A run that never started costs nothing, unless its session keeps dying: then it is charged like a loss, and needs the same reason. */
function chargedOutcome({ outcome, spent }: RunRow): RunOutcome | undefined {
  if (outcome !== "never_started") return outcome;
  return spent === "attempt" || spent === "loss" ? "lost" : undefined;
}

const textOf = ({ run, job }: Execution): string => `run ${run} of job ${job}`;

function verdictOf({ state, outcome, reason, message, spent }: RunRow): string {
  return outcome === undefined
    ? state
    : [outcome, reason, message, spent === undefined ? undefined : `spent: ${spent}`]
        .filter((part) => part !== undefined && part !== "")
        .join(", ");
}
