import type { Instant } from "../../domain/time.ts";
import type { HotVerbs } from "../engine/hot-verbs.ts";
import { OpenCalls } from "../engine/open-calls.ts";
import { createCancels } from "../items/cancels.ts";
import { type RunEndWriter, settleItems } from "../items/settle-items.ts";
import { checkClaim, type FirstChecks, firstChecks } from "../jobs/claim-rules.ts";
import { checkEnqueueGroup } from "../jobs/enqueue-groups.ts";
import type { ClaimRequest, RunsStore, SettleAnswer } from "../port/runs.ts";
import type { StoreHint } from "../port/store.ts";
import type { WorkersStore } from "../port/workers.ts";
import { type HeldRow, type PresenceRow, plainRun, presenceOf, readHeld } from "../runs/held-run-row.ts";
import { createRunReads } from "../runs/run-reads.ts";
import { createRunVerbs } from "../runs/run-verbs.ts";
import { lostEndOf, planLoss } from "../runs/settle-plan.ts";
import { ClaimPhase } from "./claim.ts";
import type { SqliteConnection } from "./connection.ts";
import type { SqliteEngine } from "./engine.ts";
import { EnqueuePhase } from "./enqueue.ts";
import { GroupCommit, type GroupPhase } from "./group-commit.ts";
import { SqliteRunBeats } from "./run-beats.ts";
import { SqliteRunEnds } from "./run-ends.ts";
import { SettlePhase } from "./settle.ts";

/** Ids set aside before a group: two claims of the largest size that leave out every other id, each applied twice when the group fails. */
const runIdsPerGroup = 8000;
/** Most runs that one transaction ends for dead sessions: it blocks the event loop for about 30 us each. */
const lostPageMax = 200;

type SyncVerb = (now: Instant, hints: Set<StoreHint>) => unknown;

/** A small write that only shares the turn's transaction. */
class VerbPhase implements GroupPhase<SyncVerb, unknown> {
  readonly #now: () => Instant;

  constructor(now: () => Instant) {
    this.#now = now;
  }

  apply(verbs: readonly SyncVerb[], hints: Set<StoreHint>): readonly unknown[] {
    const now = this.#now();
    return verbs.map((verb) => verb(now, hints));
  }
}

/** The hot verbs of the embedded engine: one transaction per turn of the event loop, in the order insert, settle, other verbs, claim. */
export function createHotVerbs(engine: SqliteEngine, checks: FirstChecks = firstChecks): HotVerbs {
  const { connection, runIds, now } = engine;
  const ends = new SqliteRunEnds(connection);
  const beats = new SqliteRunBeats({ connection, ends });
  const settling = new SettlePhase({ connection, ends, now });
  const group = new GroupCommit({ connection, hint: (hints) => engine.hint(...hints), prepare: () => runIds.reserve(runIdsPerGroup) });
  const enqueue = group.addPhase(new EnqueuePhase({ connection, now }));
  const settle = group.addPhase(settling);
  const joinVerb = group.addPhase(new VerbPhase(now));
  const verb = async <T>(body: (now: Instant, hints: Set<StoreHint>) => T): Promise<T> => (await joinVerb(body)) as T;
  const claim = group.addPhase(new ClaimPhase({ connection, runIds, now, checks, onSpecial: ({ runId }) => settling.special.add(runId) }));
  // Kysely's transaction is open on the one connection, so that these land in it.
  const writer: RunEndWriter = {
    facts: async (_tx, runId) => ends.facts(runId),
    write: async (_tx, end, facts, at) => ends.write(end, facts, at, new Set()),
    recordLate: async (_tx, late) => ends.recordLate(late),
  };

  const cancels = createCancels(engine, writer);

  const look = new ClaimLook(connection);
  const calls = new OpenCalls();
  const watchReads = createWatchReads(connection);
  return {
    jobs: calls.guard<HotVerbs["jobs"]>({
      enqueue: async (jobs) => {
        checkEnqueueGroup(jobs);
        return await enqueue(jobs);
      },
      promoteDue: async (limit) => await verb((at, hints) => beats.promoteDue(limit, at, hints)),
      ...cancels.jobs,
    }),
    items: calls.guard<HotVerbs["items"]>(cancels.items),
    runs: calls.guard<HotVerbs["runs"]>({
      ...createRunReads(engine),
      ...createRunVerbs(engine),
      listHeld: watchReads.listHeld,
      claim: async (request) => {
        checkClaim(request);
        return request.max === 0 || request.queues.length === 0 ? [] : await look.around(request, async () => await claim(request), []);
      },
      start: async (runs) => await verb((at, hints) => runs.map((run) => beats.start(run, at, hints))),
      settle: async (settlements) => {
        if (settlements.length === 0) return [];
        const answers = await settle(settlements);
        if (!answers.some(({ kind }) => kind === "with_item")) return answers as readonly SettleAnswer[];
        const withItem = settlements.filter((_, index) => answers[index]?.kind === "with_item");
        const rest = (await settleItems(engine, writer, withItem)).values();
        for (const { runId } of withItem) settling.special.delete(runId);
        return answers.map((answer) => (answer.kind === "with_item" ? (rest.next().value as SettleAnswer) : answer));
      },
      beat: async (runs) => (runs.length === 0 ? [] : await verb(() => beats.beat(runs))),
      moveChecks: async (checks) => (checks.length === 0 ? [] : await verb(() => beats.moveChecks(checks))),
      settleLostPage: async (page) => {
        const limit = Math.min(page.limit, lostPageMax);
        return await verb((at, hints) => {
          // One row more than the page tells whether there is another page.
          const lost = ends.lost({ workerIds: page.workerIds, limit: limit + 1 });
          const { index, total } = page.event ?? { index: 0, total: ends.countLost(page.workerIds) };
          const settled = lost.slice(0, limit);
          const ended = settled.map((run, place) => {
            settling.special.delete(run.runId);
            const end = planLoss(run, { index: index + place, total }, { ...page, now: at });
            ends.write(end, run, at, hints);
            return lostEndOf(end, run);
          });
          return { settled: settled.length, ended, more: lost.length > limit, event: { index: index + settled.length, total } };
        });
      },
    }),
    workers: calls.guard<HotVerbs["workers"]>({
      listPresence: watchReads.listPresence,
      renew: async (renewal) => await verb((at) => beats.renew(renewal, at)),
    }),
    close: async () => {
      await calls.close();
      await group.close();
    },
  };
}

/**
 * Whether a claim has anything to answer: a job, an error for a session that is not live or an unknown queue, or the runs of an earlier
 * claim.
 */
const anythingToClaim = `
  select 1 from (select ?1 as worker_id, ?2 as claim_seq) c
  where not exists (select 1 from workers w where w.id = c.worker_id and w.state = 'live')
    or exists (select 1 from live l indexed by live_of_worker where l.worker_id = c.worker_id and l.claim_seq = c.claim_seq)
    or exists (
      select 1 from json_each(?3) e left join queues q on q.name = e.value
      where q.id is null or (q.paused = 0 and (exists (select 1 from ready where ready.queue_id = q.id)
        or exists (select 1 from ready_on_host h where h.host_id = (select host_id from workers where id = c.worker_id) and h.queue_id = q.id))))`;

/**
 * Looks before a claim, so that an idle worker's poll begins no write transaction. A hint or the next poll finds what becomes claimable
 * later. It does not look after a claim with runs: there will be more.
 */
class ClaimLook {
  readonly #connection: SqliteConnection;
  #dry = false;

  constructor(connection: SqliteConnection) {
    this.#connection = connection;
  }

  async around<Runs extends readonly unknown[]>(request: ClaimRequest, claim: () => Promise<Runs>, none: Runs): Promise<Runs> {
    if (this.#dry && !(await this.#anything(request))) return none;
    const runs = await claim();
    this.#dry = runs.length === 0;
    return runs;
  }

  async #anything({ workerId, claimSeq, queues }: ClaimRequest): Promise<boolean> {
    const names = JSON.stringify(queues.map(({ name }) => name));
    return await this.#connection.exclusive(() => this.#connection.prepare(anythingToClaim).get(workerId, claimSeq, names) !== undefined);
  }
}

const presence = `
  select count(*) as alive, json_group_array(json_array(id, last_heard_at, host_id, boot_id, pid_namespace, pid, start_time))
    filter (where host_id = ? or last_heard_at <= ?) as text
  from (select * from workers where state in ('live', 'draining') order by id)`;

const held = (condition: string): string => `
  select json_group_array(json_array(id, job_id, owner_epoch, kind, state)) as text
  from (select id, job_id, owner_epoch, kind, state from live indexed by live_of_worker
        where worker_id = ? and id > ? ${condition} order by id limit ?)`;
const heldByAny = held("");
const heldPlain = held(plainRun);

/** What is read each second of every session, and of what the dead among them held. */
function createWatchReads(connection: SqliteConnection): Pick<WorkersStore, "listPresence"> & Pick<RunsStore, "listHeld"> {
  const read = async <Row>(sql: string, ...parameters: readonly (number | string)[]): Promise<Row> =>
    await connection.exclusive(() => connection.prepare(sql).get(...parameters) as Row);
  return {
    listPresence: async ({ hostId, silentSince }) => {
      const { alive, text } = await read<{ alive: number; text: string }>(presence, hostId, silentSince);
      return { alive, sessions: (JSON.parse(text) as readonly PresenceRow[]).map(presenceOf) };
    },
    listHeld: async (options) =>
      await readHeld(options, async ({ workerId, afterRun, limit }) => {
        const { text } = await read<{ text: string }>(options.only === undefined ? heldByAny : heldPlain, workerId, afterRun, limit);
        return JSON.parse(text) as readonly HeldRow[];
      }),
  };
}
