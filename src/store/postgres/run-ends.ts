import { CompiledQuery, type Transaction } from "kysely";
import type { RunId, WorkerId } from "../../domain/ids.ts";
import type { Instant } from "../../domain/time.ts";
import type { Database } from "../engine/tables.ts";
import { jobAlertEntry } from "../jobs/job-alert.ts";
import { keptColumnsOf } from "../runs/run-columns.ts";
import type { RunEnd, SettleFacts } from "../runs/settle-plan.ts";

/** Of `r`, the run, `j`, its job, `q`, the queue, and `l`, the job's live run. */
const factColumns = `
  r.id as "runId", r.job_id as "jobId", r.attempt, r.state, r.owner_epoch as "ownerEpoch", r.worker_id as "workerId",
  r.slot_key as "slotKey", r.exit_code as "exitCode", l.id as "currentRunId", l.owner_epoch as "currentEpoch",
  j.attempts + (l.id is not null and l.state <> 'reserved')::integer as attempts, j.max_attempts as "maxAttempts", j.losses as losses,
  j.max_losses as "maxLosses", j.last_loss_at as "lastLossAt",
  (select count(*)::integer from runs p where p.job_id = r.job_id and p.attempt < r.attempt and p.by_session_death and p.attempt > coalesce(
    (select b.attempt from runs b where b.job_id = r.job_id and b.attempt < r.attempt and b.outcome not in ('never_started', 'released')
     order by b.attempt desc limit 1), 0)) as "sessionDeaths",
  j.item_id as "itemId", j.visit_id as "visitId", q.name as queue, j.agent, j.repo`;
const liveFacts = factColumns.replaceAll(/\br\./g, "l.");
/** `+ 0`: for a join by the key the planner may walk all live runs in its order. */
const liveJoins = "join jobs j on j.id = l.job_id + 0 join queues q on q.id = j.queue_id";

/** Live runs before jobs, in the order of the jobs, as every writer locks them. */
const factsOfLive = `
  select ${liveFacts}, null as outcome, null as reason
  from live l ${liveJoins} where l.id = any($1::bigint[]) order by l.job_id + 0 for update of l, j`;

/** A run that is not live has ended or never was: it only ever moves that way. Locked, so that its late result is written once. */
const factsOfEnded = `
  select ${factColumns}, r.outcome, r.reason
  from runs r join jobs j on j.id = r.job_id join queues q on q.id = j.queue_id
  left join lateral (select id, owner_epoch, state from live where job_id = r.job_id offset 0) l on true
  where r.id = any($1::bigint[]) order by r.id for update of r`;

/**
 * Live handler runs and unstarted runs of plain jobs that these sessions hold. One session after the other, in its index's order: with
 * small tables the planner would else read the live runs of all sessions.
 */
const lostOf = (limit: string): string => `
  select l.job_id from unnest($1::bigint[]) s (id) cross join lateral (
    select job_id from live
    where worker_id = s.id and (kind = 'handler' or state = 'reserved') and state <> 'exited' and item_id is null
    order by claim_seq offset 0) l ${limit}`;

/**
 * A page of them, without rows that somebody else settles. The limit comes before sort and lock: sorting first reads all that the sessions
 * hold. `worker_id + 0`: only the key serves the second look.
 */
const factsOfLost = `
  with picked as materialized (${lostOf("limit $2")})
  select ${liveFacts}, null as outcome, null as reason, (select count(*)::integer from picked) as picked
  from live l ${liveJoins}
  where l.job_id = any(array(select job_id from picked)) and l.worker_id + 0 = any($1::bigint[]) and (l.kind = 'handler' or l.state = 'reserved')
    and l.state <> 'exited' and l.item_id is null
  order by l.job_id for update of l, j skip locked`;

const countOfLost = `select count(*)::integer as n from (${lostOf("")}) l`;

/** All ends of a transaction in one statement; every row that it touches was locked when its facts were read. */
const writeEnds = `
  with e as materialized (
    select * from json_to_recordset($1::json) as t (run bigint, job bigint, visit bigint, item bigint, worker bigint, outcome text, reason text,
      message text, evidence text, exit_code integer, started_at bigint, spent text, by_session_death boolean, job_state text, run_at bigint, finished_at bigint,
      attempts integer, losses integer, last_loss_at bigint, error text, output text, stop_by bigint, slot text, actor text,
      alert_key text, alert text)
  ), history as (
    insert into runs (${keptColumnsOf()}, exit_code, started_at, slot_key, state, ended_at, outcome, reason, message, evidence, spent, by_session_death)
    select ${keptColumnsOf("l")}, coalesce(e.exit_code, l.exit_code), coalesce(l.started_at, e.started_at),
      case when e.stop_by is null then null else l.slot_key end, 'ended', $2::bigint, e.outcome, e.reason, e.message, e.evidence, e.spent, e.by_session_death
    from e cross join lateral (select * from live where job_id = e.job and id = e.run offset 0) l
    returning job_id
  ), gone as (
    delete from live where job_id = any(array(select job_id from history))
  ), ended_jobs as (
    update jobs set state = e.job_state, run_at = coalesce(e.run_at, jobs.run_at), finished_at = e.finished_at, attempts = e.attempts,
      losses = e.losses, last_loss_at = e.last_loss_at, error = coalesce(e.error, jobs.error), output = coalesce(e.output, jobs.output),
      run_count = jobs.run_count + 1, blocked_by = case when e.stop_by is null then null else e.run end, stop_by = e.stop_by,
      scheduled_at = case when e.job_state = 'scheduled' then coalesce(e.run_at, jobs.run_at) end,
      note = case when e.job_state in ('held', 'failed', 'cancelled') then e.job_state end,
      open_visit_id = case when e.finished_at is null then jobs.visit_id end
    from e where jobs.id = e.job and jobs.id = any(array(select job_id from history))
    returning jobs.id, jobs.queue_id, jobs.priority, jobs.host_id, jobs.state = 'queued' and jobs.blocked_by is null and jobs.paused is false as claimable
  ), opened as (
    insert into ready (queue_id, priority, job_id) select queue_id, priority, id from ended_jobs where claimable and host_id is null
  ), opened_on_host as (
    insert into ready_on_host (host_id, queue_id, priority, job_id)
    select host_id, queue_id, priority, id from ended_jobs where claimable and host_id is not null
  ), spent_visits as (
    update visits set attempts = e.attempts, losses = e.losses, last_loss_at = e.last_loss_at from e where visits.id = e.visit
  ), released_slots as (
    update slots set used = greatest(0, used - cardinality(array_positions(array(select slot from e where slot is not null), key)))
    where key = any(array(select slot from e where slot is not null))
  ), explained as (
    insert into action_logs (at, action, actor, reason, message, evidence, job_id, run_id, item_id, worker_id)
    select $2::bigint, 'run.ended', e.actor, e.reason, e.message, e.evidence, e.job, e.run, e.item, e.worker from e where e.actor is not null order by e.run
  ), alerted as (
    insert into outbox (kind, key, payload, due_at, created_at)
    select 'alert', e.alert_key, e.alert, $2::bigint, $2::bigint from e where e.alert_key is not null order by e.alert_key
    on conflict (kind, key) do nothing
  )
  select count(*)::integer as ended from ended_jobs`;

/** What a writer without the fence tried, kept once however often it tries. */
const writeLate = `
  insert into action_logs (at, action, actor, reason, evidence, job_id, run_id, item_id, worker_id)
  select $1::bigint, 'run.late_result', $2::text, $3::text, $4::text, $5::bigint, $6::bigint, $7::bigint, $8::bigint
  where not exists (select 1 from action_logs where run_id = $6::bigint and action = 'run.late_result' and evidence = $4::text)`;

export interface WrittenEnd {
  readonly end: RunEnd;
  readonly facts: SettleFacts;
}

/** Locks what settling looks at, by run id. */
export async function lockFacts(tx: Transaction<Database>, runIds: readonly RunId[]): Promise<ReadonlyMap<RunId, SettleFacts>> {
  const { rows: live } = await tx.executeQuery(CompiledQuery.raw(factsOfLive, [runIds]));
  const known = new Map((live as SettleFacts[]).map((facts) => [facts.runId, facts]));
  const others = runIds.filter((runId) => !known.has(runId));
  if (others.length === 0) return known;
  const { rows: ended } = await tx.executeQuery(CompiledQuery.raw(factsOfEnded, [others]));
  for (const facts of ended as SettleFacts[]) known.set(facts.runId, facts);
  return known;
}

/** At most `limit` lost runs, locked. `more`: the sessions hold others, and it is worth while to ask for them now. */
export async function lockLost(
  tx: Transaction<Database>,
  { workerIds, limit }: { readonly workerIds: readonly WorkerId[]; readonly limit: number },
): Promise<{ readonly lost: readonly SettleFacts[]; readonly more: boolean }> {
  // One row more than the page tells whether there is another page.
  const { rows } = await tx.executeQuery(CompiledQuery.raw(factsOfLost, [workerIds, limit + 1]));
  const lost = rows as readonly (SettleFacts & { readonly picked: number })[];
  return { lost: lost.slice(0, limit), more: (lost[0]?.picked ?? 0) > limit };
}

export async function countLost(tx: Transaction<Database>, workerIds: readonly WorkerId[]): Promise<number> {
  const { rows } = await tx.executeQuery(CompiledQuery.raw(countOfLost, [workerIds]));
  return (rows[0] as { readonly n: number } | undefined)?.n ?? 0;
}

/** Writes ends whose facts were locked in this transaction. */
export async function writeRunEnds(tx: Transaction<Database>, ends: readonly WrittenEnd[], now: Instant): Promise<void> {
  if (ends.length === 0) return;
  const rows = ends.map(({ end, facts }) => recordOf(end, facts, now));
  const { rows: answers } = await tx.executeQuery(CompiledQuery.raw(writeEnds, [JSON.stringify(rows), now]));
  const ended = (answers[0] as { readonly ended: number } | undefined)?.ended ?? 0;
  // The rows are locked, so none can have moved on; if one did, nothing of this transaction may stay.
  if (ended !== ends.length) throw new Error(`${ends.length - ended} of ${ends.length} runs were live a moment ago and could not be ended`);
}

function recordOf(end: RunEnd, facts: SettleFacts, now: Instant): Readonly<Record<string, unknown>> {
  const alert = end.alert === null ? null : jobAlertEntry(end.alert, now);
  return {
    run: end.runId,
    job: end.jobId,
    visit: end.visitId,
    item: end.itemId,
    worker: facts.workerId,
    outcome: end.outcome,
    reason: end.reason,
    message: end.message,
    evidence: end.evidence,
    exit_code: end.exitCode,
    started_at: end.startedAt,
    spent: end.spent,
    by_session_death: end.bySessionDeath,
    job_state: end.jobState,
    run_at: end.runAt,
    finished_at: end.finishedAt,
    attempts: end.attempts,
    losses: end.losses,
    last_loss_at: end.lastLossAt,
    error: end.error,
    output: end.output,
    stop_by: end.stopBy,
    slot: end.releasedSlot,
    actor: end.actor,
    alert_key: alert?.key ?? null,
    alert: alert?.payload ?? null,
  };
}

export interface LateResult {
  readonly at: Instant;
  readonly actor: string;
  readonly reason: string;
  readonly tried: string;
  readonly run: SettleFacts;
}

export async function writeLateResult(tx: Transaction<Database>, late: LateResult): Promise<void> {
  const { jobId, runId, itemId, workerId } = late.run;
  await tx.executeQuery(CompiledQuery.raw(writeLate, [late.at, late.actor, late.reason, late.tried, jobId, runId, itemId, workerId]));
}
