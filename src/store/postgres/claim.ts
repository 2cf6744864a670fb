import { asJobId, asRunId, firstOwnerEpoch, type ItemId, type OwnerEpoch, type VisitId } from "../../domain/ids.ts";
import { addMs, type Instant } from "../../domain/time.ts";
import type { FirstChecks } from "../jobs/claim-rules.ts";
import type { ClaimedRun, ClaimRequest } from "../port/runs.ts";
import type { LaneBatch, LanePhase } from "./lanes.ts";
import type { Rows, Statement } from "./turn-connection.ts";

/** A claim that is repeated while its first call is under way waits here for that call's commit; no other claim does. */
const oneAtATime: Statement = { name: "claim_lock", text: "select pg_advisory_xact_lock(hashtextextended($1, 7))" };

/**
 * Takes the best candidates of all queues within their slots. Jobs and runs are reached by `any(array(...))` and never joined to a CTE, for
 * which the planner scans whole tables (docs/architecture.md, "Hot statements").
 */
const claimRuns: Statement = {
  name: "claim",
  text: `
    with named as materialized (
      select q.id, q.name, q.kind, q.slot_key, n.timeout_ms, n.heartbeat_timeout_ms, n.max_running_ms, n.started_check_at
      from unnest($3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])
        as n (name, timeout_ms, heartbeat_timeout_ms, max_running_ms, started_check_at)
      join queues q on q.name = n.name
      where q.paused is false
        and exists (select 1 from workers w where w.id = $1 and w.state = 'live')
        and not exists (select 1 from runs r where r.worker_id = $1 and r.claim_seq = $2 and r.ended_at is null)
    ), rooms as materialized (
      select key, greatest(capacity - used, 0) as room from slots
      where key = any(array(select slot_key from named where slot_key is not null)) order by key for update
    ), candidates as materialized (
      select c.id, c.priority, n.kind, n.slot_key
      from named n cross join lateral (
        select j.id, j.priority from jobs j
        where j.queue_id = n.id and j.state = 'queued' and j.blocked_by is null and j.paused is false
        order by j.priority, j.id limit $8 for update skip locked) c
    ), roomy as materialized (
      select id, priority, kind from candidates where slot_key is null
      union all
      select s.id, s.priority, s.kind from (
        select id, priority, kind, slot_key, row_number() over (partition by slot_key order by priority, id) as place
        from candidates where slot_key is not null) s
      where s.place <= (select room from rooms where key = s.slot_key)
    ), best as materialized (
      select id, kind from roomy order by priority, id limit $8
    ), starting as materialized (
      select id from best where kind = 'handler' limit $9
    ), flipped as (
      update jobs set state = 'running', current_run_id = nextval('run_ids'), current_epoch = 1, run_count = run_count + 1,
        attempts = attempts + (id = any(array(select id from starting)))::integer
      where id = any(array(select id from best))
      returning id, queue_id, priority, current_run_id, run_count, item_id, visit_id, payload, id = any(array(select id from starting)) as started
    ), made as (
      insert into runs (id, job_id, attempt, state, worker_id, kind, claim_seq, reserved_at, started_at, check_at,
        timeout_ms, heartbeat_timeout_ms, max_running_ms, slot_key)
      select f.current_run_id, f.id, f.run_count, case when f.started then 'started' else 'reserved' end, $1, n.kind, $2, $10::bigint,
        case when f.started then $10::bigint end, case when f.started then n.started_check_at else $11::bigint end,
        n.timeout_ms, n.heartbeat_timeout_ms, n.max_running_ms, n.slot_key
      from flipped f join named n on n.id = f.queue_id
    ), counted as (
      update visits set attempts = attempts + 1 where id = any(array(select visit_id from flipped where started and visit_id is not null))
    ), filled as (
      update slots set used = used + cardinality(array_positions(
        array(select n.slot_key from flipped f join named n on n.id = f.queue_id where n.slot_key is not null), key))
      where key = any(array(select n.slot_key from flipped f join named n on n.id = f.queue_id where n.slot_key is not null))
    ), noted as (
      insert into outbox (kind, key, payload, due_at, created_at)
      select 'state-file', f.item_id::text, json_build_object('itemId', f.item_id)::text, $10::bigint, $10::bigint from flipped f where f.item_id is not null
      order by f.item_id
      on conflict (kind, key) do update set payload = excluded.payload, revision = outbox.revision + 1,
        attempts = case when outbox.due_at is null then 0 else outbox.attempts end, due_at = coalesce(outbox.due_at, excluded.due_at)
    )
    select f.current_run_id, f.id, n.name, f.run_count, f.started, f.payload, f.item_id, f.visit_id, 1, f.priority
    from flipped f join named n on n.id = f.queue_id`,
};

/** A claim that was answered before: its runs, as long as they live and are the session's. */
export const runsOfClaim: Statement = {
  name: "claimed",
  text: `
    select r.id, r.job_id, q.name, r.attempt, r.started_at is not null, j.payload, j.item_id, j.visit_id, r.owner_epoch, j.priority
    from runs r join jobs j on j.id = r.job_id join queues q on q.id = j.queue_id
    where r.worker_id = $1 and r.claim_seq = $2 and r.ended_at is null`,
};

/** Takes jobs. Empty also for a claim that was answered before, which the caller then reads again, and for a session that is not live. */
export class ClaimPhase implements LanePhase<ClaimRequest, readonly ClaimedRun[]> {
  readonly #now: () => Instant;
  readonly #checks: FirstChecks;

  constructor(options: { readonly now: () => Instant; readonly checks: FirstChecks }) {
    this.#now = options.now;
    this.#checks = options.checks;
  }

  weigh(request: ClaimRequest): number {
    return Math.max(1, request.max);
  }

  batch(requests: readonly ClaimRequest[]): LaneBatch<readonly ClaimedRun[]> {
    const now = this.#now();
    const statements = requests.flatMap((request) => [
      { statement: oneAtATime, values: [`${request.workerId}:${request.claimId}`] },
      { statement: claimRuns, values: this.#values(request, now) },
    ]);
    return { statements, answers: (rows) => requests.map((_, index) => claimedRuns(rows[index * 2 + 1] ?? [])) };
  }

  #values(request: ClaimRequest, now: Instant): readonly unknown[] {
    const limits = request.queues.map((queue) => queue.limits);
    return [
      request.workerId,
      request.claimSeq,
      request.queues.map(({ name }) => name),
      limits.map(({ timeoutMs }) => timeoutMs ?? null),
      limits.map(({ heartbeatTimeoutMs }) => heartbeatTimeoutMs ?? null),
      limits.map(({ maxRunningMs }) => maxRunningMs ?? null),
      limits.map((limit) => this.#checks.firstCheckAt(now, limit)),
      request.max,
      request.startNow,
      now,
      addMs(now, this.#checks.startWithinMs()),
    ];
  }
}

/** Rows come in the order in which jobs were updated: they are put into the order in which they are to be worked on. */
export function claimedRuns(rows: Rows): readonly ClaimedRun[] {
  return [...rows].sort((a, b) => (a[9] as number) - (b[9] as number) || (a[1] as number) - (b[1] as number)).map(claimedRun);
}

function claimedRun(row: readonly unknown[]): ClaimedRun {
  return {
    runId: asRunId(row[0] as number),
    ownerEpoch: row[8] === 1 ? firstOwnerEpoch : (row[8] as OwnerEpoch),
    jobId: asJobId(row[1] as number),
    queue: row[2] as string,
    attempt: row[3] as number,
    started: row[4] as boolean,
    payload: row[5] as string | null,
    itemId: row[6] as ItemId | null,
    visitId: row[7] as VisitId | null,
  };
}
