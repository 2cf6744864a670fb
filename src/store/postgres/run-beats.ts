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

/** The jobs are locked before the runs, in the order of their keys, as every writer does. */
const startRuns: Statement = {
  name: "start",
  text: `
    with s as materialized (
      select * from json_to_recordset($1::json) as t (run bigint, epoch integer, started_at bigint, check_at bigint, timeout_ms bigint,
        heartbeat_timeout_ms bigint, max_running_ms bigint, host_id text, boot_id text, pid_namespace text, pid integer, start_time text)
    ), locked as materialized (
      select j.id from jobs j where j.id = any(array(select r.job_id from runs r where r.id = any(array(select run from s)))) order by j.id for update
    ), begun as (
      update runs set state = 'started', started_at = s.started_at, check_at = s.check_at, timeout_ms = s.timeout_ms,
        heartbeat_timeout_ms = s.heartbeat_timeout_ms, max_running_ms = s.max_running_ms, host_id = s.host_id, boot_id = s.boot_id,
        pid_namespace = s.pid_namespace, pid = s.pid, start_time = s.start_time, wrapper_pid = s.pid, wrapper_start_time = s.start_time
      from s where runs.id = s.run and runs.owner_epoch = s.epoch and runs.state = 'reserved' and runs.job_id = any(array(select id from locked))
      returning runs.id, runs.job_id
    ), counted as (
      update jobs set attempts = attempts + 1 where id = any(array(select job_id from begun)) returning visit_id, item_id
    ), counted_visits as (
      update visits set attempts = attempts + 1 where id = any(array(select visit_id from counted where visit_id is not null))
    ), noted as (
      insert into outbox (kind, key, payload, due_at, created_at)
      select 'state-file', c.item_id::text, json_build_object('itemId', c.item_id)::text, $2::bigint, $2::bigint from counted c where c.item_id is not null
      order by c.item_id
      on conflict (kind, key) do update set payload = excluded.payload, revision = outbox.revision + 1,
        attempts = case when outbox.due_at is null then 0 else outbox.attempts end, due_at = coalesce(outbox.due_at, excluded.due_at)
    )
    select id from begun`,
};

/** Nothing that this statement changes is indexed. `greatest`: beats of one run may overtake each other. */
const beatRuns: Statement = {
  name: "beat",
  text: `
    update runs set progress_at = greatest(runs.progress_at, b.at), progress = coalesce(b.progress, runs.progress)
    from json_to_recordset($1::json) as b (run bigint, at bigint, progress text)
    where runs.id = b.run and runs.state in ('reserved', 'started', 'exited') returning runs.id`,
};

/** Skips locked rows: whoever holds one changes the run, which is looked at again. Nobody waits here. */
const moveChecks: Statement = {
  name: "move_checks",
  text: `
    with c as materialized (
      select * from json_to_recordset($1::json) as t (run bigint, epoch integer, at bigint)
    ), free as materialized (
      select id from runs where id = any(array(select run from c)) order by id for update skip locked
    )
    update runs set check_at = c.at from c
    where runs.id = c.run and runs.id = any(array(select id from free)) and runs.owner_epoch = c.epoch
      and runs.state in ('reserved', 'started', 'exited')
    returning runs.id`,
};

const renewSession: Statement = {
  name: "renew",
  text: `
    update workers set last_heard_at = greatest(last_heard_at, $1::bigint), claim_seq_received = greatest(claim_seq_received, $2::bigint),
      loop_lag_ms = coalesce($3::double precision, loop_lag_ms)
    where id = $4 and state in ('live', 'draining')`,
};
const sessionState: Statement = { name: "session", text: "select state from workers where id = $1" };
const notHeld: Statement = {
  name: "not_held",
  text: `
    select h.id, r.state, r.owner_epoch, r.outcome, r.reason, r.worker_id
    from unnest($1::bigint[]) as h (id) left join runs r on r.id = h.id
    where r.id is null or r.state = 'ended' or r.worker_id is distinct from $2`,
};

const promoteDue: Statement = {
  name: "promote",
  text: `
    with due as materialized (
      select id from jobs where state = 'scheduled' and run_at <= $1 order by run_at, id limit $2 for update skip locked
    )
    update jobs set state = 'queued' where id = any(array(select id from due)) returning id`,
};
const nextDue: Statement = { name: "next_due", text: "select run_at from jobs where state = 'scheduled' order by run_at, id limit 1" };

/** A small write that only shares the turn's transaction. */
export interface Verb {
  readonly statements: readonly BoundStatement[];
  answer(rows: readonly Rows[]): unknown;
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
      renew: async ({ workerId, held, claimSeqReceived, loopLagMs }) => {
        const statements: BoundStatement[] = [
          { statement: renewSession, values: [engine.now(), claimSeqReceived, loopLagMs ?? null, workerId] },
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
