import { CompiledQuery, Kysely, PostgresDialect, sql } from "kysely";
import type { Instant } from "../../domain/time.ts";
import type { Engine } from "../engine/engine.ts";
import type { HotVerbs } from "../engine/hot-verbs.ts";
import { OpenCalls } from "../engine/open-calls.ts";
import type { Database } from "../engine/tables.ts";
import { createCancels } from "../items/cancels.ts";
import { type RunEndWriter, settleItems } from "../items/settle-items.ts";
import { checkClaim, type FirstChecks, firstChecks } from "../jobs/claim-rules.ts";
import { checkEnqueueGroup } from "../jobs/enqueue-groups.ts";
import { StoreContentError, StoreUnavailableError, UnknownQueueError } from "../port/errors.ts";
import type { RunsStore, SettleAnswer, Settlement } from "../port/runs.ts";
import type { StoreHint } from "../port/store.ts";
import type { WorkersStore } from "../port/workers.ts";
import { type HeldRow, type PresenceRow, plainRun, presenceOf, readHeld } from "../runs/held-run-row.ts";
import { createRunReads } from "../runs/run-reads.ts";
import { createRunVerbs } from "../runs/run-verbs.ts";
import { hintsOfEnd, lateResult, lostEndOf, notSettled, planApart, planLoss, settledAs } from "../runs/settle-plan.ts";
import { type ClaimAnswer, type ClaimInput, ClaimPhase, type EmptyClaim, lookAtEmpty } from "./claim.ts";
import { ClaimBounds } from "./claim-bounds.ts";
import type { PostgresEngine } from "./engine.ts";
import { EnqueuePhase } from "./enqueue.ts";
import { isLocked, mayRunAgain, postgresFailure } from "./failures.ts";
import { hotTarget, Lanes } from "./lanes.ts";
import { StatementPool } from "./pool.ts";
import { createRunBeats, type Verb, VerbPhase } from "./run-beats.ts";
import { countLost, lockFacts, lockLost, type WrittenEnd, writeLateResult, writeRunEnds } from "./run-ends.ts";
import { SettlePhase } from "./settle.ts";

/** Connections for the loops' reads and for settlements that need a look first; the lanes have two of their own. */
const poolSize = 4;
const triesMax = 4;
/** How long `unlessLocked` waits for a locked row: rows change hands within milliseconds on a busy server. */
const lockedAfterMs = 20;
/** Most runs that one transaction ends for dead sessions, whose rows are locked meanwhile. */
const lostPageMax = 500;

/** The hot verbs of the server engine. */
export function createHotVerbs(outer: PostgresEngine, checks: FirstChecks = firstChecks): HotVerbs {
  const { engine, unlessLocked } = plannedEngines(outer);
  const lanes = new Lanes({ target: outer.target, hint: (hints) => outer.hint(...hints) });
  const now = (): Instant => engine.now();
  const enqueue = lanes.addPhase(new EnqueuePhase(now));
  const settle = lanes.addPhase(new SettlePhase(now));
  const verb = lanes.addPhase(new VerbPhase());
  const bounds = new ClaimBounds();
  outer.onHint((hint) => bounds.hear(hint));
  const claimPhase = new ClaimPhase({ now, checks, bounds });
  const claim = lanes.addPhase(claimPhase);
  const beats = createRunBeats(engine, verb);
  const queueIds = new QueueIds(engine);
  const runVerbs = createRunVerbs(engine);
  const runVerbsUnlessLocked = createRunVerbs(unlessLocked);

  const watchReads = createWatchReads(engine);
  const cancels = createCancels(engine, writer);
  const calls = new OpenCalls();
  return {
    items: calls.guard<HotVerbs["items"]>(cancels.items),
    jobs: calls.guard<HotVerbs["jobs"]>({
      ...beats.jobs,
      ...cancels.jobs,
      enqueue: async (group) => {
        checkEnqueueGroup(group);
        return group.jobs.length === 0 ? [] : await enqueue({ group, queueId: await queueIds.of(group.queue) });
      },
    }),
    runs: calls.guard<HotVerbs["runs"]>({
      ...createRunReads(engine),
      ...runVerbs,
      listHeld: watchReads.listHeld,
      ...beats.runs,
      claim: async (request) => {
        checkClaim(request);
        if (request.max === 0 || request.queues.length === 0) return [];
        const ids: number[] = [];
        for (const { name } of request.queues) ids.push(await queueIds.of(name));
        const runs = await claimRuns({ request, queueIds: ids }, { phase: claimPhase, claim, verb });
        if (runs.some((run) => run.itemId !== null)) engine.hint("outbox");
        return runs;
      },
      recordExit: async (run, how) => await (how?.unlessLocked === true ? runVerbsUnlessLocked : runVerbs).recordExit(run),
      settle: async (settlements, how) => {
        if (settlements.length === 0) return [];
        // One by one: a settlement that meets a locked row must not undo another's end.
        if (how?.unlessLocked === true) {
          const answers: SettleAnswer[] = [];
          for (const settlement of settlements) answers.push(...(await settleUnlessLocked(unlessLocked, settlement)));
          return answers;
        }
        const answers = await settle(settlements);
        const rest = settlements.filter((_, index) => answers[index]?.kind === "singly");
        if (rest.length === 0) return answers as readonly SettleAnswer[];
        const others = (await settleRest(engine, rest)).values();
        return answers.map((answer) => (answer.kind === "singly" ? (others.next().value as SettleAnswer) : answer));
      },
      settleLostPage: async (page) => await settleLostPage(engine, page),
    }),
    workers: calls.guard<HotVerbs["workers"]>({ ...beats.workers, listPresence: watchReads.listPresence }),
    close: async () => {
      await calls.close();
      await lanes.close();
      await engine.kysely.destroy();
    },
  };
}

/** Two engines on connections that always plan for indexes; the second one waits for no locked row. */
function plannedEngines(outer: PostgresEngine): { readonly engine: Engine; readonly unlessLocked: Engine } {
  const { name } = outer.target;
  const pool = new StatementPool({ target: hotTarget(outer.target), size: poolSize });
  const kysely = new Kysely<Database>({ dialect: new PostgresDialect({ pool }) });
  const transaction: Engine["transaction"] = async (body) => {
    for (let tries = 1; ; tries += 1) {
      try {
        return await kysely.transaction().execute(body);
      } catch (thrown) {
        if (tries >= triesMax || !mayRunAgain(thrown)) throw postgresFailure(thrown, name);
      }
    }
  };
  const unlessLocked: Engine["transaction"] = async (body) => {
    for (let tries = 1; ; tries += 1) {
      try {
        return await kysely.transaction().execute(async (tx) => {
          await sql.raw(`set local lock_timeout = ${lockedAfterMs}`).execute(tx);
          return await body(tx);
        });
      } catch (thrown) {
        if (isLocked(thrown) || tries >= triesMax || !mayRunAgain(thrown)) throw postgresFailure(thrown, name);
      }
    }
  };
  const engine = engineOn(outer, { kysely, transaction });
  return { engine, unlessLocked: { ...engine, transaction: unlessLocked } };
}

/** A locked row gives the same error wherever the transaction meets it. */
async function settleUnlessLocked(engine: Engine, settlement: Settlement): Promise<readonly SettleAnswer[]> {
  return (await settleRest(engine, [settlement])).map((answer) => {
    if (answer.kind !== "failed" || !isLocked(answer.error)) return answer;
    const text = `run ${settlement.runId} is being written by somebody else; it is looked at again soon`;
    return notSettled(new StoreUnavailableError(text, { cause: answer.error }));
  });
}

function engineOn(outer: PostgresEngine, { kysely, transaction }: Pick<Engine, "kysely" | "transaction">): Engine {
  return {
    kysely,
    rows: async <Row>(statement: string, parameters: readonly unknown[]) =>
      (await kysely.executeQuery<Row>(CompiledQuery.raw(statement, [...parameters]))).rows,
    transaction,
    capabilities: outer.capabilities,
    predicates: outer.predicates,
    now: outer.now,
    hint: (...hints) => outer.hint(...hints),
    epochRaised: () => outer.epochRaised(),
    moveRunIds: async (tx, epoch) => await outer.moveRunIds(tx, epoch),
    snapshot: async (body) => await outer.snapshot(body),
    sizeBytes: async () => await outer.sizeBytes(),
    keptForReaders: async () => await outer.keptForReaders(),
    integrityCheck: async () => await outer.integrityCheck(),
  };
}

/** Ids of queues by name, which never change; a queue that another process makes known later is asked for again. */
class QueueIds {
  readonly #engine: Engine;
  readonly #known = new Map<string, number>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  async of(name: string): Promise<number> {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const row = await this.#engine.kysely.selectFrom("queues").select("id").where("name", "=", name).executeTakeFirst();
    if (row === undefined) throw new UnknownQueueError(name);
    this.#known.set(name, row.id);
    return row.id;
  }
}

/** Asked once more where it was sent with too little knowledge of its queues, or did not read each from its beginning. */
async function claimRuns(
  input: ClaimInput,
  ask: {
    readonly phase: ClaimPhase;
    readonly claim: (input: ClaimInput) => Promise<ClaimAnswer>;
    readonly verb: (verb: Verb) => Promise<unknown>;
  },
): ReturnType<RunsStore["claim"]> {
  for (;;) {
    const { runs, again } = await ask.claim(input);
    if (runs.length > 0) return runs;
    if (again) continue;
    const { before, special } = (await ask.verb(lookAtEmpty(input))) as EmptyClaim;
    if (before.length > 0 || !ask.phase.learn(special)) return before;
  }
}

const writer: RunEndWriter = {
  facts: async (tx, runId) => (await lockFacts(tx, [runId])).get(runId),
  write: async (tx, end, facts, now) => await writeRunEnds(tx, [{ end, facts }], now),
  recordLate: writeLateResult,
};

/**
 * What the batch could not end, a round at a time: the second settlement of a run must see what the first one wrote. A round that fails is
 * tried member by member.
 */
async function settleRest(engine: Engine, settlements: readonly Settlement[]): Promise<readonly SettleAnswer[]> {
  const answers = new Map<Settlement, SettleAnswer>();
  let waiting = settlements;
  while (waiting.length > 0) {
    const runs = new Set<number>();
    const round = waiting.filter(({ runId }) => !runs.has(runId) && runs.add(runId));
    const rest = waiting.filter((settlement) => !round.includes(settlement));
    for (const [settlement, answer] of await settleRound(engine, round)) answers.set(settlement, answer);
    waiting = rest;
  }
  return settlements.map((settlement) => answers.get(settlement) as SettleAnswer);
}

async function settleRound(engine: Engine, round: readonly Settlement[]): Promise<ReadonlyMap<Settlement, SettleAnswer>> {
  try {
    return await writeRound(engine, round);
  } catch (thrown) {
    const [only] = round;
    if (only !== undefined && round.length === 1) return new Map([[only, notSettled(thrown)]]);
    // Only what a member brings is worth another try: the others would wait for the same server once more.
    if (!(thrown instanceof StoreContentError)) return new Map(round.map((each) => [each, notSettled(thrown)]));
    const answers = new Map<Settlement, SettleAnswer>();
    for (const each of round) for (const [settlement, answer] of await settleRound(engine, [each])) answers.set(settlement, answer);
    return answers;
  }
}

/** Looked at under lock, then written by one statement; runs of items one by one after that. */
async function writeRound(engine: Engine, round: readonly Settlement[]): Promise<ReadonlyMap<Settlement, SettleAnswer>> {
  const hints = new Set<StoreHint>();
  const settled = await engine.transaction(async (tx) => {
    const outcomes = new Map<Settlement, SettleAnswer>();
    const now = engine.now();
    const known = await lockFacts(
      tx,
      round.map(({ runId }) => runId),
    );
    const ends: WrittenEnd[] = [];
    for (const settlement of round) {
      const facts = known.get(settlement.runId);
      if (facts !== undefined && facts.itemId !== null && facts.state !== "ended") continue;
      const plan = planApart(settlement, facts, now);
      if (plan.kind === "end") {
        if (facts !== undefined) ends.push({ end: plan.end, facts });
        outcomes.set(settlement, settledAs(plan.end));
      } else {
        if (plan.kind === "lost" && facts !== undefined) {
          await writeLateResult(tx, {
            at: now,
            actor: settlement.actor ?? "worker",
            reason: settlement.reason,
            tried: lateResult(settlement, plan.why),
            run: facts,
          });
        }
        outcomes.set(settlement, plan);
      }
    }
    await writeRunEnds(tx, ends, now);
    for (const { end } of ends) hintsOfEnd(end, hints);
    return outcomes;
  });
  if (hints.size > 0) engine.hint(...hints);
  const withItem = round.filter((settlement) => !settled.has(settlement));
  const moved = withItem.length === 0 ? [] : await settleItems(engine, writer, withItem);
  for (const [index, settlement] of withItem.entries()) settled.set(settlement, moved[index] as SettleAnswer);
  return settled;
}

async function settleLostPage(engine: Engine, page: Parameters<RunsStore["settleLostPage"]>[0]): ReturnType<RunsStore["settleLostPage"]> {
  const limit = Math.min(page.limit, lostPageMax);
  const hints = new Set<StoreHint>();
  const answer = await engine.transaction(async (tx) => {
    const now = engine.now();
    const { lost, more } = await lockLost(tx, { workerIds: page.workerIds, limit });
    const { index, total } = page.event ?? { index: 0, total: await countLost(tx, page.workerIds) };
    const event = { ...page, now };
    const ends = lost.map((facts, place) => ({ end: planLoss(facts, { index: index + place, total }, event), facts }));
    await writeRunEnds(tx, ends, now);
    for (const { end } of ends) hintsOfEnd(end, hints);
    const ended = ends.map(({ end, facts }) => lostEndOf(end, facts));
    return { settled: lost.length, ended, more, event: { index: index + lost.length, total } };
  });
  if (hints.size > 0) engine.hint(...hints);
  return answer;
}

const presence = `
  select count(*)::integer as alive, coalesce(json_agg(json_build_array(id, last_heard_at, host_id, boot_id, pid_namespace, pid, start_time) order by id)
    filter (where host_id = $1 or last_heard_at <= $2), '[]')::text as text
  from workers where state in ('live', 'draining')`;

/** `id + 0`: in key order the planner would walk past the runs of all other sessions. */
const held = (condition: string): string => `
  select coalesce(json_agg(json_build_array(id, job_id, owner_epoch, kind, state) order by id), '[]')::text as text
  from (select id, job_id, owner_epoch, kind, state from live
        where worker_id = $1 and id + 0 > $2 ${condition} order by id + 0 limit $3) r`;
const heldByAny = held("");
const heldPlain = held(plainRun);

/** What is read each second of every session, and of what the dead among them held. */
function createWatchReads(engine: Pick<Engine, "rows">): Pick<WorkersStore, "listPresence"> & Pick<RunsStore, "listHeld"> {
  return {
    listPresence: async ({ hostId, silentSince }) => {
      const [row] = await engine.rows<{ alive: number; text: string }>(presence, [hostId, silentSince]);
      return { alive: row?.alive ?? 0, sessions: (JSON.parse(row?.text ?? "[]") as readonly PresenceRow[]).map(presenceOf) };
    },
    listHeld: async (options) =>
      await readHeld(options, async ({ workerId, afterRun, limit }) => {
        const [row] = await engine.rows<{ text: string }>(options.only === undefined ? heldByAny : heldPlain, [workerId, afterRun, limit]);
        return JSON.parse(row?.text ?? "[]") as readonly HeldRow[];
      }),
  };
}
