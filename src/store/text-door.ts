import {
  asciiText,
  brokenNameRule,
  explanationBytesMax,
  isStorable,
  storable,
  storableJson,
  storableWords,
} from "../domain/storable-text.ts";
import { BadNameError, StoreContentError } from "./port/errors.ts";
import type { EnqueueGroup, JobsStore } from "./port/jobs.ts";
import type { Failure, RunsStore, SettleAnswer, Settlement } from "./port/runs.ts";
import { notSettled } from "./runs/settle-plan.ts";

/** How a text is made storable. Throws where it is refused instead. */
type Rule = (text: string, field: string) => string;

const name: Rule = (text, field) => {
  const rule = brokenNameRule(text);
  if (rule !== undefined) throw new BadNameError(field, rule);
  return text;
};
/** What no index holds, or what a caller gives along with a whole row: as long as it is. */
const unbounded: Rule = (text, field) => {
  if (!isStorable(text)) throw new BadNameError(field, "holds a NUL or half a surrogate pair");
  return text;
};
const words: Rule = (text) => storableWords(text);
const json: Rule = (text) => storableJson(text);
const explanation: Rule = (text) => storableJson(text, explanationBytesMax);

/** Texts by the member that holds them. Every other text is a name, a key or an id without a bound. */
const rules: Readonly<Record<string, Rule>> = {
  message: words,
  reason: words,
  error: words,
  proof: words,
  label: words,
  evidence: explanation,
  progress: explanation,
  payload: json,
  output: json,
  input: json,
  definition: json,
  lastError: words,
  agent: name,
  branch: name,
  claimId: name,
  dir: name,
  enqueueId: name,
  hash: name,
  key: name,
  lease: name,
  name,
  pipeline: name,
  pipelines: name,
  queue: name,
  queues: name,
  repo: name,
  scope: name,
  slot: name,
  stage: name,
  ticket: name,
};
/** The same for arguments that are texts themselves, by verb and place. */
const argumentRules: Readonly<Record<string, readonly (Rule | undefined)[]>> = {
  raiseEpoch: [words],
  putSetting: [name, json],
};

/**
 * The store's door: verbs of the port that store no text but what both engines read back alike. Texts for people and JSON are cleaned;
 * names, keys and ids are refused as `bad_request`.
 */
export function guardTexts<Verbs extends object>(verbs: Verbs): Verbs {
  const guarded = Object.entries(verbs as Readonly<Record<string, unknown>>).map(([verb, call]) => [
    verb,
    typeof call === "function" ? guardedVerb(verb, call as (...given: readonly unknown[]) => Promise<unknown>) : call,
  ]);
  return Object.fromEntries(guarded) as Verbs;
}

const refusal = async (thrown: unknown): Promise<never> => {
  throw thrown;
};

/** Not async: the hot verbs must reach their group in the turn of the event loop in which they were called. */
function guardedVerb(verb: string, call: (...given: readonly unknown[]) => Promise<unknown>) {
  const ofArguments = argumentRules[verb];
  return (...given: readonly unknown[]): Promise<unknown> => {
    let clean: readonly unknown[];
    try {
      clean = given.map((each, at) => admitted(each, `argument ${at + 1} of ${verb}`, ofArguments?.[at] ?? name));
    } catch (thrown) {
      return refusal(thrown);
    }
    return call(...clean);
  };
}

/** The value itself where nothing in it changes, as nearly always. */
function admitted(value: unknown, field: string, rule: Rule): unknown {
  if (typeof value === "string") return rule(value, field);
  if (typeof value !== "object" || value === null) return value;
  return Array.isArray(value) ? admittedList(value, field, rule) : admittedMembers(value as Readonly<Record<string, unknown>>);
}

function admittedList(list: readonly unknown[], field: string, rule: Rule): readonly unknown[] {
  let changed: unknown[] | undefined;
  for (let at = 0; at < list.length; at += 1) {
    const clean = admitted(list[at], field, rule);
    if (clean === list[at]) continue;
    changed ??= [...list];
    changed[at] = clean;
  }
  return changed ?? list;
}

function admittedMembers(members: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  let changed: Record<string, unknown> | undefined;
  for (const field in members) {
    const clean = admitted(members[field], field, rules[field] ?? unbounded);
    if (clean === members[field]) continue;
    changed ??= { ...members };
    changed[field] = clean;
  }
  return changed ?? members;
}

/** `enqueue` looks at what a job has and at nothing else: it is called for every job. */
export function guardEnqueue(jobs: Pick<JobsStore, "enqueue">): JobsStore["enqueue"] {
  return (group) => {
    try {
      return jobs.enqueue(admittedGroup(group));
    } catch (thrown) {
      return refusal(thrown);
    }
  };
}

function admittedGroup(group: EnqueueGroup): EnqueueGroup {
  const { queue, agent, repo, jobs } = group;
  name(queue, "queue");
  if (agent !== undefined) name(agent, "agent");
  if (repo !== undefined) name(repo, "repo");
  let hostile = false;
  for (const { payload, enqueueId } of jobs) {
    if (enqueueId !== undefined) name(enqueueId, "enqueueId");
    if (payload !== undefined && !isStorable(payload)) hostile = true;
  }
  if (!hostile) return group;
  return { ...group, jobs: jobs.map((job) => (job.payload === undefined ? job : { ...job, payload: storableJson(job.payload) })) };
}

/**
 * `settle`, in which no end is refused for its texts: names are cleaned too. What the store refuses still is settled in ASCII (for a
 * database that is not UTF-8), and at last with a text that says so.
 */
export function guardSettle(runs: Pick<RunsStore, "settle">): RunsStore["settle"] {
  const settle: RunsStore["settle"] = (settlements, how) => runs.settle(settlements, how);
  return (settlements, how) => {
    const clean = cleaned(settlements);
    return settle(clean, how).then(
      (answers) => (answers.some(isRefused) ? replaceRefused(settle, clean, answers, how) : answers),
      (thrown: unknown) => {
        if (!(thrown instanceof StoreContentError)) throw thrown;
        // Nothing of the call is stored. One by one, so that the others end as they are.
        return replaceRefused(
          settle,
          clean,
          clean.map(() => notSettled(thrown)),
          how,
        );
      },
    );
  };
}

const isRefused = (answer: SettleAnswer): boolean => answer.kind === "failed" && answer.error instanceof StoreContentError;

function cleaned(settlements: readonly Settlement[]): readonly Settlement[] {
  let changed: Settlement[] | undefined;
  for (let at = 0; at < settlements.length; at += 1) {
    const settlement = settlements[at] as Settlement;
    if (isClean(settlement)) continue;
    changed ??= [...settlements];
    changed[at] = cleanEnd(settlement);
  }
  return changed ?? settlements;
}

/** Codes are short; a longer reason is looked at closely. */
const plainReasonMax = 200;

/** The plain success of a handler, which is all that is looked at per job: nothing but a code and an output. */
const isClean = (settlement: Settlement): boolean =>
  settlement.outcome === "succeeded" &&
  settlement.evidence === undefined &&
  settlement.actor === undefined &&
  settlement.advance === undefined &&
  settlement.reason.length < plainReasonMax &&
  isStorable(settlement.reason) &&
  (settlement.output === undefined || isStorable(settlement.output));

function cleanEnd(settlement: Settlement): Settlement {
  const { reason, actor, evidence } = settlement;
  const clean = {
    reason: storableWords(reason),
    actor: actor === undefined ? undefined : storableWords(actor),
    evidence: evidence === undefined ? undefined : storableJson(evidence, explanationBytesMax),
  };
  if (settlement.outcome !== "succeeded") return { ...settlement, ...clean, message: storableWords(settlement.message) };
  return { ...settlement, ...clean, output: settlement.output === undefined ? undefined : storable(settlement.output) };
}

async function replaceRefused(
  settle: RunsStore["settle"],
  settlements: readonly Settlement[],
  given: readonly SettleAnswer[],
  how: Parameters<RunsStore["settle"]>[1],
): Promise<readonly SettleAnswer[]> {
  const one = async (settlement: Settlement): Promise<SettleAnswer> => {
    try {
      return (await settle([settlement], how))[0] ?? { kind: "gone" };
    } catch (thrown) {
      return notSettled(thrown);
    }
  };
  const answers: SettleAnswer[] = [];
  for (const [at, settlement] of settlements.entries()) {
    let answer = given[at] ?? { kind: "gone" };
    const whole = settlements.length > 1 && given.every(isRefused);
    if (whole) answer = await one(settlement);
    for (const replaced of isRefused(answer) && answer.kind === "failed" ? replacements(settlement, refusalOf(answer.error)) : []) {
      if (!isRefused(answer) || answer.kind !== "failed") break;
      const refusal = refusalOf(answer.error);
      const next = await one(replaced);
      answer = next.kind === "ok" ? { ...next, replaced: refusal } : next;
    }
    answers.push(answer);
  }
  return answers;
}

const refusalOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** What is tried in the place of a settlement that the store refuses: the same in ASCII, then the bare end. */
function replacements(settlement: Settlement, refusal: string): readonly Settlement[] {
  const { evidence, reason, actor } = settlement;
  const ascii = {
    reason: asciiText(reason),
    actor: asciiText(actor ?? "worker"),
    evidence: evidence === undefined ? undefined : asciiText(evidence),
  };
  const said = `The store refused the text of this end: ${storableWords(asciiText(refusal), 1000)}`;
  const { runId, ownerEpoch, jobId, startedAt, stopBy } = settlement;
  const bare = { runId, ownerEpoch, jobId, startedAt, stopBy, actor: ascii.actor, message: said };
  if (settlement.outcome !== "succeeded") {
    const { outcome, disposition, bySessionDeath, retry } = settlement;
    const last: Failure = { ...bare, reason: ascii.reason, outcome, disposition, bySessionDeath, retry };
    return [{ ...settlement, ...ascii, message: `${asciiText(settlement.message)} (${said})` }, last];
  }
  const { output } = settlement;
  // A result that cannot be kept in any spelling is no result.
  const last: Failure = { ...bare, reason: "bad_output", outcome: "bad_output", retry: { jitter: 0 } };
  return [{ ...settlement, ...ascii, output: output === undefined ? undefined : asciiText(output) }, last];
}
