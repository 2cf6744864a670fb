import type { RunId } from "../../domain/ids.ts";
import type { WorkerState } from "../../domain/lifecycles/worker.ts";
import type { Instant } from "../../domain/time.ts";
import type { Engine } from "../engine/engine.ts";
import type { JobsStore } from "../port/jobs.ts";
import type { FencedAnswer, RunsStore, StartRun } from "../port/runs.ts";
import type { WorkersStore } from "../port/workers.ts";
import { type NotHeldRow, noSuchSession, startAnswer, whyNotHeld } from "../runs/held-runs.ts";
import { processColumns } from "../runs/run-row.ts";
import type { SettleFacts } from "../runs/settle-plan.ts";
import type { LaneBatch, LanePhase } from "./lanes.ts";
import { lockFacts } from "./run-ends.ts";
import type { BoundStatement, Rows, Statement } from "./turn-connection.ts";

/** Locked in the order of the jobs, as every writer does. `job_id + 0`: in key order the planner would walk past the runs of all sessions. */
const startRuns: Statement = {
  name: "start",
  text: `
    with s as materialized (
      select * from json_to_recordset($1::json) as t (run bigint, epoch integer, started_at bigint, check_at bigint, timeout_ms bigint,
        heartbeat_timeout_ms bigint, max_running_ms bigint, host_id text, boot_id text, pid_namespace text, pid integer, start_time text)
    ), locked as materialized (
      select id from live where id = any(array(select run from s)) order by job_id + 0 for update
    ), begun as (
      update live set state = 'started', started_at = s.started_at, check_at = s.check_at, timeout_ms = s.timeout_ms,
        heartbeat_timeout_ms = s.heartbeat_timeout_ms, max_running_ms = s.max_running_ms, host_id = s.host_id, boot_id = s.boot_id,
        pid_namespace = s.pid_namespace, pid = s.pid, start_time = s.start_time, wrapper_pid = s.pid, wrapper_start_time = s.start_time
      from s where live.id = s.run and live.id = any(array(select id from locked)) and live.owner_epoch = s.epoch and live.state = 'reserved'
      returning live.id, live.job_id, live.item_id
    ), counted_visits as (
      update visits set attempts = attempts + 1 where id = any(array(
        select visit_id from jobs where id = any(array(select job_id from begun where item_id is not null)) and visit_id is not null))
    ), noted as (
      insert into outbox (kind, key, payload, due_at, created_at, host_id)
      select 'state-file', b.item_id::text, json_build_object('itemId', b.item_id)::text, $2::bigint, $2::bigint,
        (select host_id from items where id = b.item_id)
      from begun b where b.item_id is not null
      order by b.item_id
      on conflict (kind, key) do update set payload = excluded.payload, host_id = excluded.host_id, revision = outbox.revision + 1,
        attempts = case when outbox.due_at is null then 0 else outbox.attempts end, due_at = coalesce(outbox.due_at, excluded.due_at)
    )
    select id from begun`,
};

/** Nothing that this statement changes is indexed. `greatest`: beats of one run may overtake each other. */
const beatRuns: Statement = {
  name: "beat",
  text: `
    with b as materialized (
      select * from json_to_recordset($1::json) as t (run bigint, at bigint, progress text)
    )
    update live set progress_at = greatest(live.progress_at, b.at), progress = coalesce(b.progress, live.progress)
    from b where live.id = b.run and live.id = any(array(select run from b)) returning live.id`,
};

/** Skips locked rows: whoever holds one changes the run, which is looked at again. Nobody waits here. */
const moveChecks: Statement = {
  name: "move_checks",
  text: `
    with c as materialized (
      select * from json_to_recordset($1::json) as t (run bigint, epoch integer, at bigint)
    ), free as materialized (
      select id from live where id = any(array(select run from c)) order by job_id + 0 for update skip locked
    )
    update live set check_at = c.at from c
    where live.id = c.run and live.id = any(array(select id from free)) and live.owner_epoch = c.epoch
    returning live.id`,
};

const renewSession: Statement = {
  name: "renew",
  text: `
    update workers set last_heard_at = greatest(last_heard_at, $1::bigint), claim_seq_received = greatest(claim_seq_received, $2::bigint),
      loop_lag_ms = coalesce($3::double precision, loop_lag_ms), via = coalesce($5::text, via)
    where id = $4 and state in ('live', 'draining')`,
};
const sessionState: Statement = { name: "session", text: "select state from workers where id = $1" };
/** A run is in one of the two tables, at any instant. `offset 0` keeps the planner from reading the live runs of all sessions. */
const notHeld: Statement = {
  name: "not_held",
  text: `
    select h.id, coalesce(l.state, r.state), coalesce(l.owner_epoch, r.owner_epoch), r.outcome, r.reason, coalesce(l.worker_id, r.worker_id)
    from unnest($1::bigint[]) as h (id)
    left join lateral (select id, state, owner_epoch, worker_id from live where id = h.id offset 0) l on true
    left join lateral (select state, owner_epoch, outcome, reason, worker_id from runs where id = h.id offset 0) r on l.id is null
    where l.id is null or l.worker_id is distinct from $2`,
};

const promoteDue: Statement = {
  name: "promote",
  text: `
    with due as materialized (
      select id from jobs where scheduled_at <= $1 order by scheduled_at, id limit $2 for update skip locked
    ), promoted as (
      update jobs set state = 'queued', scheduled_at = null where id = any(array(select id from due))
      returning id, queue_id, priority, host_id, blocked_by is null and paused is false as claimable
    ), opened as (
      insert into ready (queue_id, priority, job_id) select queue_id, priority, id from promoted where claimable and host_id is null
    ), opened_on_host as (
      insert into ready_on_host (host_id, queue_id, priority, job_id)
      select host_id, queue_id, priority, id from promoted where claimable and host_id is not null
    )
    select id from promoted`,
};
const nextDue: Statement = {
  name: "next_due",
  text: "select scheduled_at from jobs where scheduled_at is not null order by scheduled_at, id limit 1",
};

/** A small write that only shares the turn's transaction. */
export interface Verb<Answer = unknown> {
  readonly statements: readonly BoundStatement[];
  answer(rows: readonly Rows[]): Answer;
}

export class VerbPhase implements LanePhase<Verb, unknown> {
  batch(verbs: readonly Verb[]): LaneBatch<unknown> {
    return {
      statements: verbs.flatMap((verb) => verb.statements),
      answers: (rows) => {
        let from = 0;
        return verbs.map((verb) => {
          from += verb.statements.length;
          return verb.answer(rows.slice(from - verb.statements.length, from));
        });
      },
    };
  }
}

type Join = (verb: Verb) => Promise<unknown>;

export interface RunBeats {
  readonly runs: Pick<RunsStore, "start" | "beat" | "moveChecks">;
  readonly workers: Pick<WorkersStore, "renew">;
  readonly jobs: Pick<JobsStore, "promoteDue">;
}

/** The small hot writes of the server engine, in the lanes' transactions. */
export function createRunBeats(engine: Engine, join: Join): RunBeats {
  return {
    runs: {
      start: async (runs) => {
        if (runs.length === 0) return [];
        const answer = (rows: readonly Rows[]): Set<RunId> => new Set((rows[0] ?? []).map((row) => row[0] as RunId));
        const begun = (await join({
          statements: [{ statement: startRuns, values: [startsAsJson(runs), engine.now()] }],
          answer,
        })) as Set<RunId>;
        // Commands belong to items, whose state file says that one has begun.
        if (runs.some((run) => run.wrapper !== undefined)) engine.hint("outbox");
        return await startAnswers(engine, runs, begun);
      },
      beat: async (beats) => {
        if (beats.length === 0) return [];
        const newest = new Map<RunId, { readonly at: Instant; readonly progress?: string | undefined }>();
        for (const beat of beats) if ((newest.get(beat.runId)?.at ?? 0) <= beat.at) newest.set(beat.runId, beat);
        const values = [JSON.stringify([...newest].map(([run, { at, progress }]) => ({ run, at, progress })))];
        const answer = (rows: readonly Rows[]): Set<RunId> => new Set((rows[0] ?? []).map((row) => row[0] as RunId));
        const alive = (await join({ statements: [{ statement: beatRuns, values }], answer })) as Set<RunId>;
        return [...newest.keys()].filter((runId) => !alive.has(runId));
      },
      moveChecks: async (checks) => {
        if (checks.length === 0) return [];
        const values = [JSON.stringify(checks.map(({ runId, ownerEpoch, checkAt }) => ({ run: runId, epoch: ownerEpoch, at: checkAt })))];
        const answer = (rows: readonly Rows[]): readonly RunId[] => (rows[0] ?? []).map((row) => row[0] as RunId);
        return (await join({ statements: [{ statement: moveChecks, values }], answer })) as readonly RunId[];
      },
    },
    workers: {
      renew: async ({ workerId, held, claimSeqReceived, loopLagMs, via }) => {
        const statements: BoundStatement[] = [
          { statement: renewSession, values: [engine.now(), claimSeqReceived, loopLagMs ?? null, workerId, via ?? null] },
          { statement: sessionState, values: [workerId] },
        ];
        if (held.length > 0) statements.push({ statement: notHeld, values: [held, workerId] });
        // Thrown below and not in the turn: a session that is unknown must not fail the others of it.
        const rows = (await join({ statements, answer: (answered) => answered })) as readonly Rows[];
        const state = rows[1]?.[0]?.[0] as WorkerState | undefined;
        if (state === undefined) throw noSuchSession(workerId);
        return { state, lost: (rows[2] ?? []).map(notHeldRow).map((row) => ({ runId: row.runId, why: whyNotHeld(row) })) };
      },
    },
    jobs: {
      promoteDue: async (limit) => {
        const statements = [
          { statement: promoteDue, values: [engine.now(), limit] },
          { statement: nextDue, values: [] },
        ];
        const answer = (rows: readonly Rows[]): { moved: number; nextDueAt: Instant | undefined } => ({
          moved: rows[0]?.length ?? 0,
          nextDueAt: rows[1]?.[0]?.[0] as Instant | undefined,
        });
        const promoted = (await join({ statements, answer })) as { moved: number; nextDueAt: Instant | undefined };
        if (promoted.moved > 0) engine.hint("jobs");
        return promoted;
      },
    },
  };
}

function startsAsJson(runs: readonly StartRun[]): string {
  return JSON.stringify(
    runs.map((run) => ({
      run: run.runId,
      epoch: run.ownerEpoch,
      started_at: run.startedAt,
      check_at: run.checkAt,
      timeout_ms: run.limits.timeoutMs ?? null,
      heartbeat_timeout_ms: run.limits.heartbeatTimeoutMs ?? null,
      max_running_ms: run.limits.maxRunningMs ?? null,
      ...processColumns(run.wrapper ?? null),
    })),
  );
}

/** Those that changed nothing are looked at again, to say why. */
async function startAnswers(engine: Engine, runs: readonly StartRun[], begun: ReadonlySet<RunId>): Promise<readonly FencedAnswer[]> {
  const others = runs.filter(({ runId }) => !begun.has(runId)).map(({ runId }) => runId);
  const facts = others.length === 0 ? new Map<RunId, SettleFacts>() : await engine.transaction(async (tx) => await lockFacts(tx, others));
  return runs.map((run) => (begun.has(run.runId) ? { kind: "ok" } : startAnswer(run, facts.get(run.runId))));
}

function notHeldRow(row: readonly unknown[]): NotHeldRow {
  return {
    runId: row[0] as RunId,
    state: row[1] as NotHeldRow["state"],
    ownerEpoch: row[2] as NotHeldRow["ownerEpoch"],
    outcome: row[3] as NotHeldRow["outcome"],
    reason: row[4] as string | null,
    workerId: row[5] as NotHeldRow["workerId"],
  };
}
