import { spanText } from "../../domain/durations.ts";
import { valueOf } from "../../domain/json-text.ts";
import type { StoryLine } from "../../protocol/api/records.ts";
import type { ActionRow } from "../../store/port/records.ts";
import type { RunRow } from "../../store/port/runs.ts";
import type { StoryFacts } from "./facts.ts";

/** What happened to one run, in order: where it ran, its last signs of life, the verdict with its numbers, and who settled it. */
export function runLines(run: RunRow, facts: Pick<StoryFacts, "workers" | "actions">): readonly StoryLine[] {
  return [...began(run, facts), ...signsOfLife(run, facts), ...ended(run, facts)];
}

const past = (at: number, text: string): StoryLine => ({ at, tense: "past", text });

function began(run: RunRow, { workers }: Pick<StoryFacts, "workers">): StoryLine[] {
  const worker = run.workerId === null ? undefined : workers.get(run.workerId);
  const place =
    worker === undefined
      ? "a worker that is forgotten by now"
      : `worker ${worker.name} (host ${shortHost(worker.process.hostId)}, pid ${worker.process.pid})`;
  if (run.startedAt === null) return [past(run.reservedAt, `Attempt ${run.attempt} was claimed by ${place}, not started.`)];
  const process = run.process === null ? "inside that process" : `as process ${run.process.pid} on host ${shortHost(run.process.hostId)}`;
  if (run.ownerEpoch === 1) return [past(run.startedAt, `Attempt ${run.attempt} started under ${place}, ${process}.`)];
  return [
    past(
      run.startedAt,
      `Attempt ${run.attempt} started ${process}. It was taken over ${times(run.ownerEpoch - 1)} since; now ${place} looks after it.`,
    ),
  ];
}

function signsOfLife(run: RunRow, { workers }: Pick<StoryFacts, "workers">): StoryLine[] {
  const lines: StoryLine[] = [];
  const worker = run.workerId === null ? undefined : workers.get(run.workerId);
  if (run.progressAt !== null) {
    const shown = progressText(run);
    lines.push(past(run.progressAt, `Attempt ${run.attempt} gave its last sign of progress${shown === "" ? "" : `: ${shown}`}.`));
  }
  if (run.exitedAt !== null)
    lines.push(past(run.exitedAt, `The exit of attempt ${run.attempt} was recorded: code ${run.exitCode ?? "unknown"}.`));
  if (run.gatePendingAt !== null)
    lines.push(past(run.gatePendingAt, `The gate after attempt ${run.attempt} could not be read for the first time.`));
  const suspected = run.outcome === "lost" || run.outcome === "never_started";
  if (worker !== undefined && suspected && run.endedAt !== null && worker.lastHeardAt <= run.endedAt) {
    lines.push(past(worker.lastHeardAt, `Worker ${worker.name} was last heard.`));
  }
  return lines;
}

function ended(run: RunRow, { actions }: Pick<StoryFacts, "actions">): StoryLine[] {
  if (run.endedAt === null || run.outcome === null) return [];
  const record = endOf(run, actions);
  const ran = run.startedAt === null ? "" : ` after ${spanText(Math.max(0, run.endedAt - run.startedAt))}`;
  if (run.outcome === "succeeded") return [past(run.endedAt, `Attempt ${run.attempt} succeeded${ran}.`)];
  const message = run.message ?? record?.message ?? undefined;
  const numbers = evidenceText(run.evidence);
  const sentences = [
    `Attempt ${run.attempt} ended${ran}: ${outcomeText[run.outcome]} (${run.reason ?? "no reason on record"}).`,
    message === undefined ? "" : sentence(message),
    numbers === "" ? "" : `Evidence: ${numbers}.`,
    record === undefined ? "" : `Settled by ${record.actor}.`,
    run.spent === null ? "" : spentText[run.spent],
  ];
  return [past(run.endedAt, sentences.filter((each) => each !== "").join(" "))];
}

/** The action row of a run's end says who won the flip. */
function endOf(run: RunRow, actions: readonly ActionRow[]): ActionRow | undefined {
  return actions.findLast((action) => action.runId === run.id && tellsEnd(action));
}

/** Rows that repeat what a run's own end says. */
export const tellsEnd = ({ action }: ActionRow): boolean => action === "run.ended" || action === "run.reaped";

export const outcomeText = {
  succeeded: "succeeded",
  failed: "failed",
  gate_red: "its result did not pass the gate",
  hung: "it hung, alive without progress",
  timed_out: "it took longer than it may",
  lost: "it was lost",
  cancelled: "a person cancelled it",
  released: "it was handed back",
  never_started: "it never started",
} as const;

const spentText = {
  nothing: "Nothing was spent.",
  attempt: "It counts as an attempt.",
  loss: "It counts as a loss, not as an attempt.",
} as const;

const evidenceEntriesMax = 12;

/** The numbers of a verdict as `name value, name value`, nested ones by their path. */
function evidenceText(evidence: string | null): string {
  const entries: string[] = [];
  const collect = (value: unknown, path: string): void => {
    if (entries.length > evidenceEntriesMax || value === null || value === undefined) return;
    if (typeof value === "object") {
      for (const [key, member] of Object.entries(value)) collect(member, path === "" ? key : `${path}.${key}`);
      return;
    }
    const text = typeof value === "string" ? value : JSON.stringify(value);
    const shown = path.endsWith("Ms") && typeof value === "number" ? spanText(value) : text.slice(0, 100);
    entries.push(path === "" ? shown : `${path.replace(/Ms$/, "")} ${shown}`);
  };
  collect(valueOf(evidence), "");
  return entries.length > evidenceEntriesMax ? `${entries.slice(0, evidenceEntriesMax).join(", ")} and more` : entries.join(", ");
}

function progressText(run: RunRow): string {
  const value = valueOf(run.progress);
  if (typeof value === "number") return `${Math.round(value * 100)} %`;
  return value === null ? "" : typeof value === "string" ? value : JSON.stringify(value);
}

const shortHost = (hostId: string): string => (hostId.length > 12 ? hostId.slice(0, 12) : hostId);
const times = (count: number): string => (count === 1 ? "once" : `${count} times`);
/** Capitalises only a plain word: `ctx.log is not a function` begins with a name that is spelt so. */
const sentence = (text: string): string =>
  `${/^[a-z]+[ ,:]/.test(text) ? text.charAt(0).toUpperCase() : text.charAt(0)}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
