import { CompiledQuery, type Transaction } from "kysely";
import type { RunId, WorkerId } from "../../domain/ids.ts";
import type { Instant } from "../../domain/time.ts";
import type { Database } from "../engine/tables.ts";
import { jobAlertEntry } from "../jobs/job-alert.ts";
import type { RunEnd, SettleFacts } from "../runs/settle-plan.ts";

const factColumns = `
  r.id as "runId", r.job_id as "jobId", r.attempt, r.state, r.owner_epoch as "ownerEpoch", r.worker_id as "workerId",
  r.slot_key as "slotKey", r.outcome, r.reason, r.exit_code as "exitCode",
  j.current_run_id as "currentRunId", j.current_epoch as "currentEpoch",
  j.attempts as attempts, j.max_attempts as "maxAttempts", j.losses as losses, j.max_losses as "maxLosses", j.last_loss_at as "lastLossAt",
  (select count(*)::integer from runs p where p.job_id = r.job_id and p.attempt < r.attempt and p.by_session_death and p.attempt > coalesce(
    (select b.attempt from runs b where b.job_id = r.job_id and b.attempt < r.attempt and b.outcome not in ('never_started', 'released')
     order by b.attempt desc limit 1), 0)) as "sessionDeaths",
  j.item_id as "itemId", j.visit_id as "visitId", q.name as queue, j.agent, j.repo`;
const factJoins = "join jobs j on j.id = r.job_id join queues q on q.id = j.queue_id";

/** Jobs before runs, in the order of their keys, as every writer locks them. */
const factsOfRuns = `select ${factColumns} from runs r ${factJoins} where r.id = any($1::bigint[]) order by j.id for update of j, r`;

/**
 * Live handler runs and unstarted runs of plain jobs that these sessions hold. One session after the other, in its index's order: with
 * small tables the planner would else read the live runs of all sessions.
 */
const lostOf = (limit: string): string => `
  select r.id from unnest($1::bigint[]) s (id) cross join lateral (
    select id, job_id from runs
    where worker_id = s.id and ended_at is null and (kind = 'handler' or state = 'reserved') and state <> 'exited' order by claim_seq, id) r
  join jobs j on j.id = r.job_id where j.item_id is null ${limit}`;

/**
 * A page of them, without rows that somebody else settles. The limit comes before sort and lock: sorting first reads all that the sessions
 * hold. The second condition names states, so that only the key serves it.
 */
const factsOfLost = `
  with picked as materialized (${lostOf("limit $2")})
  select ${factColumns}, (select count(*)::integer from picked) as picked
  from runs r ${factJoins}
  where r.id = any(array(select id from picked)) and r.worker_id = any($1::bigint[]) and (r.kind = 'handler' or r.state = 'reserved')
    and r.state in ('reserved', 'started') and j.item_id is null
  order by j.id for update of j, r skip locked`;

const countOfLost = `select count(*)::integer as n from (${lostOf("")}) l`;

/** All ends of a transaction in one statement; every row that it touches was locked when its facts were read. */
const writeEnds = `
  with e as materialized (
    select * from json_to_recordset($1::json) as t (run bigint, job bigint, visit bigint, item bigint, worker bigint, outcome text, reason text,
      message text, evidence text, exit_code integer, started_at bigint, spent text, by_session_death boolean, job_state text, run_at bigint, finished_at bigint,
      attempts integer, losses integer, last_loss_at bigint, error text, output text, stop_by bigint, slot text, actor text,
      alert_key text, alert text)
  ), ended_jobs as (
    update jobs set state = e.job_state, run_at = coalesce(e.run_at, jobs.run_at), finished_at = e.finished_at, attempts = e.attempts,
      losses = e.losses, last_loss_at = e.last_loss_at, error = coalesce(e.error, jobs.error), output = coalesce(e.output, jobs.output),
      blocked_by = case when e.stop_by is null then null else e.run end, stop_by = e.stop_by, current_run_id = null, current_epoch = null
    from e where jobs.id = e.job and jobs.current_run_id = e.run
    returning jobs.id
  ), ended_runs as (
    update runs set state = 'ended', ended_at = $2::bigint, outcome = e.outcome, reason = e.reason, message = e.message, evidence = e.evidence,
      exit_code = coalesce(e.exit_code, runs.exit_code), started_at = coalesce(runs.started_at, e.started_at), spent = e.spent, by_session_death = e.by_session_death,
      slot_key = case when e.stop_by is null then null else runs.slot_key end
    from e where runs.id = e.run and runs.state in ('reserved', 'started', 'exited')
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
  const { rows } = await tx.executeQuery(CompiledQuery.raw(factsOfRuns, [runIds]));
  return new Map((rows as SettleFacts[]).map((facts) => [facts.runId, facts]));
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
