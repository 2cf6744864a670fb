import { spanText } from "../../domain/durations.ts";
import { whenText } from "../../domain/instant-text.ts";
import { runTaskName } from "../../domain/run-task.ts";
import { addMs, type Instant } from "../../domain/time.ts";
import type { StoryLine } from "../../protocol/api/records.ts";
import type { JobRow } from "../../store/port/jobs.ts";
import type { RunRow } from "../../store/port/runs.ts";
import type { JobFacts, StoryFacts, WaitingFacts } from "./facts.ts";
import { outcomeText } from "./run-lines.ts";

/** A job's present: what it does or waits for, and what comes next by itself. */
export function standingOf(facts: JobFacts, story: StoryFacts): readonly StoryLine[] {
  const { job } = facts;
  switch (job.state) {
    case "scheduled":
      return scheduled(facts, story);
    case "queued":
      return queued(facts, story);
    case "running":
      return running(facts, story);
    case "held":
      return [
        now(`It is kept for a person${job.error === null ? "" : `: ${job.error}`}.`),
        ...blocked(facts, story),
        next(whatAPersonMayDo(facts)),
      ];
    case "done":
    case "returned":
    case "failed":
    case "cancelled":
      return [...blocked(facts, story), ...finished(job)];
  }
}

function whatAPersonMayDo({ job, undeclared }: JobFacts): string {
  const [unhold, cancel] = [`\`wakeful unhold job:${job.id}\``, `\`wakeful cancel job:${job.id}\``];
  return undeclared === undefined
    ? `Nothing happens by itself. ${unhold} grants one more attempt, ${cancel} ends it.`
    : `Nothing happens by itself. Once stage ${undeclared.stage} of pipeline ${undeclared.pipeline} is declared again, ${unhold} runs it; before that it is refused. ${cancel} ends it.`;
}

const now = (text: string, at: Instant | null = null): StoryLine => ({ at, tense: "now", text });
const next = (text: string, at: Instant | null = null): StoryLine => ({ at, tense: "next", text });

function scheduled({ job, runs }: JobFacts, { now: at }: StoryFacts): StoryLine[] {
  const last = runs.at(-1);
  const why =
    last === undefined || last.outcome === null
      ? "it was enqueued with a delay"
      : `backing off after attempt ${last.attempt} (${outcomeText[last.outcome]}, ${last.reason ?? "no reason on record"})`;
  return [
    now(`It is scheduled until ${whenText(job.runAt, at)}: ${why}.`, job.runAt),
    next(`Then attempt ${job.runCount + 1} is queued; ${leftText(job)}.`, job.runAt),
  ];
}

function queued(facts: JobFacts, story: StoryFacts): StoryLine[] {
  const { job, waiting } = facts;
  const reasons = [
    ...blocked(facts, story),
    ...pauses(facts, story),
    ...story.notReady.map((reason) => now(`The daemon takes no new work: ${sentence(reason)}`)),
    ...heldBackLines(story.heldBack.get(job.queue)),
    ...shortages(facts, story),
  ];
  const { filesAt } = waiting ?? {};
  const files =
    filesAt === undefined
      ? []
      : [
          now(
            `Its files are with the daemon of ${filesAt.place}, which alone claims it${filesAt.heardAt === null ? "" : ` (last heard ${whenText(filesAt.heardAt, story.now)})`}.`,
          ),
        ];
  const behind =
    waiting === undefined || waiting.ahead === 0
      ? []
      : [
          now(
            `${waiting.aheadIsExact ? "" : "At least "}${count(waiting.ahead, "job")} of its queue ${waiting.ahead === 1 ? "goes" : "go"} first.`,
          ),
        ];
  const free = reasons.length + behind.length === 0 ? [now("Nothing is in its way: the next free worker takes it.")] : [];
  return [...reasons, ...files, ...behind, ...free, next(`When it is claimed, attempt ${job.runCount + 1} begins; ${leftText(job)}.`)];
}

/** A run that was taken from its holder and is not proved stopped: its job, slot and leases go to nobody before. */
function blocked({ job, runs, remains }: JobFacts, { now: at }: StoryFacts): StoryLine[] {
  if (job.blockedBy === null || job.stopBy === null) return [];
  const run = runs.find(({ id }) => id === job.blockedBy);
  const attempt = run === undefined ? "an earlier attempt" : `attempt ${run.attempt}`;
  if (job.stopBy > at) return [now(`It waits for ${attempt} to be proved stopped, at the latest ${whenText(job.stopBy, at)}.`, job.stopBy)];
  return [
    now(
      `It waits for ${attempt}, whose process should have been stopped by ${whenText(job.stopBy, at)} and is not proved to be${remains === undefined ? "" : `: ${remains}`}. ` +
        `End the process by hand, or \`wakeful unhold job:${job.id} --force\` when you know that it does no harm.`,
      job.stopBy,
    ),
  ];
}

function pauses({ job, waiting }: JobFacts, { item }: StoryFacts): StoryLine[] {
  const lines: StoryLine[] = [];
  if (item?.state === "paused") lines.push(now(`Its item is paused; \`wakeful resume item:${item.id}\` lets it go on.`));
  else if (job.paused) lines.push(now("It is paused."));
  if (waiting?.queuePaused === true)
    lines.push(now(`Its queue ${job.queue} is paused; \`wakeful resume queue:${job.queue}\` lets it go on.`));
  return lines;
}

function shortages({ job, waiting, undeclared }: JobFacts, { now: at }: StoryFacts): StoryLine[] {
  if (waiting === undefined) return [];
  const lines: StoryLine[] = [];
  if (undeclared !== undefined) {
    const { pipeline, stage } = undeclared;
    lines.push(
      now(
        `This daemon's configuration has no stage ${stage} of pipeline ${pipeline}: unless another daemon declares it, the reconciler holds it at its next look.`,
      ),
    );
  }
  const { servedBy, pausedWorkers = [] } = waiting;
  if (servedBy.length === 0) lines.push(now(`No live worker serves the queue ${job.queue}.`));
  // A worker that is not paused takes the job all the same.
  else if (pausedWorkers.length === servedBy.length)
    for (const { id, name, since } of pausedWorkers) {
      const when = since === null ? "" : ` since ${whenText(since, at)}`;
      lines.push(now(`Worker ${name} is paused${when}; \`wakeful resume worker:${id}\` lets it claim again.`, since));
    }
  if (waiting.slot !== undefined && waiting.slot.used >= waiting.slot.capacity) lines.push(now(slotText(waiting.slot)));
  return lines;
}

function slotText({ key, capacity, holders }: NonNullable<WaitingFacts["slot"]>): string {
  const named = holders
    .slice(0, 5)
    .map(({ jobId, attempt, stopping }) => `attempt ${attempt} of job:${jobId}${stopping ? " (being stopped)" : ""}`);
  const more = holders.length > 5 ? ` and ${holders.length - 5} more` : "";
  const taken = capacity === 1 ? `The one slot of ${key} is taken` : `All ${capacity} slots of ${key} are taken`;
  return named.length === 0 ? `${taken}.` : `${taken}, by ${named.join(", ")}${more}.`;
}

function running(facts: JobFacts, story: StoryFacts): StoryLine[] {
  const { job, runs } = facts;
  const run = runs.find(({ id }) => id === job.currentRunId);
  if (run === undefined) return [now("It is running.")];
  if (job.queue === runTaskName && run.state !== "exited") return foreground(run, story);
  if (run.state === "reserved")
    return [
      now(`Attempt ${run.attempt} is claimed and about to start.`),
      ...silenceOf(run, facts, story),
      next(`If its worker never starts it, it is queued again and nothing is spent.`),
    ];
  if (run.state === "exited") return exited(run, facts, story);
  return [
    now(`Attempt ${run.attempt} is at work${run.startedAt === null ? "" : ` for ${spanText(Math.max(0, story.now - run.startedAt))}`}.`),
    ...silenceOf(run, facts, story),
    ...limitLines(run, facts, story),
    ...(facts.undeclared === undefined ? [] : [next(outlivesItsStage(facts.undeclared))]),
    next(`If it fails, ${leftText(job)}.`),
  ];
}

const heldBackLines = (why: string | undefined): StoryLine[] =>
  why === undefined
    ? []
    : [
        now(`This host cannot start its command: ${sentence(why)}`),
        next("It is tried again by itself, and no attempt is spent meanwhile."),
      ];

const sentence = (text: string): string => (text.endsWith(".") ? text : `${text}.`);

function silenceOf({ workerId }: RunRow, { hungWorkers = [] }: JobFacts, { workers, now: at }: StoryFacts): StoryLine[] {
  const worker = workerId === null || !hungWorkers.includes(workerId) ? undefined : workers.get(workerId);
  if (worker === undefined) return [];
  const { name, lastHeardAt, process } = worker;
  const silence = `Its worker ${name} (pid ${process.pid}) lives and has said nothing for ${spanText(Math.max(0, at - lastHeardAt))}: it hangs.`;
  return [now(`${silence} Continue it (\`kill -CONT ${process.pid}\`), or end it, and its work goes to others.`, lastHeardAt)];
}

const outlivesItsStage = ({ pipeline, stage }: NonNullable<JobFacts["undeclared"]>): string =>
  `Stage ${stage} of pipeline ${pipeline} is not declared here any more: it runs to its end under the version that it began with.`;

/** A command of `wakeful run`: no worker has it, no limit ends it, and only its caller starts it again. */
function foreground({ state, startedAt }: RunRow, { now: at }: StoryFacts): StoryLine[] {
  if (state === "reserved" || startedAt === null)
    return [
      now("Its command is not started yet: `wakeful run` waits for its lease, or is about to start it."),
      next("If `wakeful run` ends before that, it is cancelled."),
    ];
  return [
    now(`Its command is at work for ${spanText(Math.max(0, at - startedAt))}, in the foreground of \`wakeful run\`.`),
    next("It ends with its command, also when `wakeful run` is gone. Nothing runs it again."),
  ];
}

function exited(run: RunRow, { gatePatienceMs }: JobFacts, { now: at }: StoryFacts): StoryLine[] {
  const lines = [now(`Attempt ${run.attempt} has exited with code ${run.exitCode ?? "unknown"}; its result is being finalised.`)];
  if (run.gatePendingAt === null) return lines;
  const until = gatePatienceMs === undefined ? undefined : addMs(run.gatePendingAt, gatePatienceMs);
  return [
    ...lines,
    now(`Its gate cannot be read since ${whenText(run.gatePendingAt, at)}; it is read again.`),
    ...(until === undefined ? [] : [next(`Unreadable until ${whenText(until, at)}, it counts as red.`, until)]),
  ];
}

/** When silence or age would end it, in the numbers that the judge compares. */
function limitLines({ attempt, limits, progressAt, startedAt }: RunRow, facts: JobFacts, { now: at }: StoryFacts): StoryLine[] {
  if (startedAt === null) return [];
  const lines: StoryLine[] = [];
  const { heartbeatTimeoutMs, timeoutMs, maxRunningMs = facts.maxRunningMs } = limits;
  if (heartbeatTimeoutMs !== undefined) {
    const limit = progressAt === null ? addMs(startedAt, 2 * heartbeatTimeoutMs) : addMs(progressAt, heartbeatTimeoutMs);
    const silence =
      progressAt === null ? "has shown no progress yet" : `last showed progress ${spanText(Math.max(0, at - progressAt))} ago`;
    lines.push(next(`Attempt ${attempt} ${silence}; silent until ${whenText(limit, at)}, it counts as hung.`, limit));
  }
  const [limitMs, what] = timeoutMs === undefined ? [maxRunningMs, "given up"] : [timeoutMs, "stopped as timed out"];
  if (limitMs === undefined) return lines;
  const end = addMs(startedAt, limitMs);
  lines.push(next(`Not done by ${whenText(end, at)}, it is ${what}.`, end));
  return lines;
}

function finished(job: JobRow): StoryLine[] {
  if (job.state === "done") return [now("It is done.")];
  const again = job.itemId === null ? `\`wakeful retry job:${job.id}\`` : `\`wakeful retry item:${job.itemId}\``;
  const why = job.error === null ? "" : `: ${job.error}`;
  if (job.state === "returned") return [now(`It was returned${why}. Its item went to the stage that its own names for a red gate.`)];
  const state = now(job.state === "failed" ? `It has failed${why}.` : `It was cancelled${why}.`);
  if (job.queue === runTaskName) return [state, next("Nothing happens by itself: whoever called `wakeful run` may call it again.")];
  return [state, next(`Nothing happens by itself. ${again} gives it a fresh budget.`)];
}

function leftText({ attempts, maxAttempts, losses, maxLosses }: JobRow): string {
  const left = Math.max(0, maxAttempts - attempts);
  const lost = maxLosses === null ? "" : `, ${Math.max(0, maxLosses - losses)} of ${maxLosses} losses`;
  return `${left} of ${count(maxAttempts, "attempt")}${lost} left`;
}

const count = (n: number, word: string): string => `${n} ${word}${n === 1 ? "" : "s"}`;
