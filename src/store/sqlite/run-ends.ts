import type { RunId } from "../../domain/ids.ts";
import type { Instant } from "../../domain/time.ts";
import { jobAlertEntry } from "../jobs/job-alert.ts";
import type { StoreHint } from "../port/store.ts";
import { keptColumnsOf } from "../runs/run-columns.ts";
import { hintsOfEnd, type RunEnd, type SettleFacts } from "../runs/settle-plan.ts";
import type { SqliteConnection } from "./connection.ts";

/** Of a run of either table `r` and its job. */
const factColumns = `
  r.id as runId, r.job_id as jobId, r.attempt as attempt, r.state as state, r.owner_epoch as ownerEpoch, r.worker_id as workerId,
  r.slot_key as slotKey, r.exit_code as exitCode, j.max_attempts as maxAttempts, j.losses as losses, j.max_losses as maxLosses,
  j.last_loss_at as lastLossAt,
  (select count(*) from runs p where p.job_id = r.job_id and p.attempt < r.attempt and p.by_session_death = 1 and p.attempt > coalesce(
    (select b.attempt from runs b where b.job_id = r.job_id and b.attempt < r.attempt and b.outcome not in ('never_started', 'released')
     order by b.attempt desc limit 1), 0)) as sessionDeaths,
  j.item_id as itemId, j.visit_id as visitId, q.name as queue, j.agent as agent, j.repo as repo`;
const factJoins = `cross join jobs j on j.id = r.job_id cross join queues q on q.id = j.queue_id`;
/** A live run is its job's current one. Once it has started, it counts beside what the job's row counts. */
const liveColumns = `${factColumns}, null as outcome, null as reason, r.id as currentRunId, r.owner_epoch as currentEpoch,
  j.attempts + (r.state <> 'reserved') as attempts`;

const factsOfLive = `select ${liveColumns} from live r ${factJoins} where r.id = ?`;
const factsOfEnded = `
  select ${factColumns}, r.outcome as outcome, r.reason as reason, c.id as currentRunId, c.owner_epoch as currentEpoch,
    j.attempts + coalesce(c.state <> 'reserved', 0) as attempts
  from runs r ${factJoins} left join live c on c.job_id = r.job_id where r.id = ?`;

/** Live handler runs and unstarted runs of plain jobs that these sessions hold. */
const lostOfSessions = `
  from live indexed by live_of_worker
  where worker_id in (select value from json_each(?)) and (kind = 'handler' or state = 'reserved') and state <> 'exited' and item_id is null`;
const factsOfLost = `select ${liveColumns} from (select * ${lostOfSessions} limit ?) r ${factJoins}`;
const countOfLost = `select count(*) as n ${lostOfSessions}`;

const endRun = `
  insert into runs (${keptColumnsOf()}, started_at, exit_code, slot_key, state, ended_at, outcome, reason, message, evidence, spent, by_session_death)
  select ${keptColumnsOf()}, coalesce(started_at, ?), coalesce(?, exit_code), case when ? then slot_key end, 'ended', ?, ?, ?, ?, ?, ?, ?
  from live where job_id = ? and id = ?`;
const endLive = "delete from live where job_id = ? and id = ?";
const endJob = `
  update jobs set state = ?1, run_at = coalesce(?2, run_at), scheduled_at = case when ?1 = 'scheduled' then coalesce(?2, run_at) end,
    note = case when ?1 in ('held', 'failed', 'cancelled') then ?1 end, open_visit_id = case when ?3 is null then visit_id end,
    finished_at = ?3, attempts = ?4, losses = ?5, last_loss_at = ?6, error = coalesce(?7, error), output = coalesce(?8, output),
    blocked_by = ?9, stop_by = ?10, run_count = run_count + 1
  where id = ?11`;
const makeReady = `
  insert into ready (queue_id, priority, job_id)
  select queue_id, priority, id from jobs where id = ? and state = 'queued' and blocked_by is null and paused = 0 and host_id is null`;
const makeReadyOnHost = `
  insert into ready_on_host (host_id, queue_id, priority, job_id)
  select host_id, queue_id, priority, id from jobs
  where id = ? and state = 'queued' and blocked_by is null and paused = 0 and host_id is not null`;
const spendOfVisit = "update visits set attempts = ?, losses = ?, last_loss_at = ? where id = ?";
/** Never below zero: a wrong count is a breach that the recount repairs, and must not keep a run from ending. */
const releaseSlot = "update slots set used = max(0, used - 1) where key = ?";
const insertAction = `
  insert into action_logs (at, action, actor, reason, message, evidence, job_id, run_id, item_id, worker_id)
  values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`;
const insertAlert = `
  insert into outbox (kind, key, payload, due_at, created_at) values ('alert', ?, ?, ?, ?) on conflict (kind, key) do nothing`;
const insertLateResult = `
  insert into action_logs (at, action, actor, reason, evidence, job_id, run_id, item_id, worker_id)
  select ?1, 'run.late_result', ?2, ?3, ?4, ?5, ?6, ?7, ?8
  where not exists (select 1 from action_logs where job_id = ?5 and run_id = ?6 and action = 'run.late_result' and evidence = ?4)`;

export interface RunAction {
  readonly at: Instant;
  readonly action: string;
  readonly actor: string;
  readonly reason: string | null;
  readonly message?: string | null | undefined;
  readonly evidence?: string | null | undefined;
  readonly run: Pick<SettleFacts, "jobId" | "runId" | "itemId" | "workerId">;
}

/** How the embedded engine reads what settling looks at, and writes what it decided. Synchronous: call it inside a transaction. */
export class SqliteRunEnds {
  readonly #connection: SqliteConnection;

  constructor(connection: SqliteConnection) {
    this.#connection = connection;
  }

  facts(runId: RunId): SettleFacts | undefined {
    const live = this.#connection.prepare(factsOfLive).get(runId) as SettleFacts | undefined;
    return live ?? (this.#connection.prepare(factsOfEnded).get(runId) as SettleFacts | undefined);
  }

  lost(options: { readonly workerIds: readonly number[]; readonly limit: number }): readonly SettleFacts[] {
    return this.#connection.prepare(factsOfLost).all(JSON.stringify(options.workerIds), options.limit) as SettleFacts[];
  }

  countLost(workerIds: readonly number[]): number {
    return (this.#connection.prepare(countOfLost).get(JSON.stringify(workerIds)) as { readonly n: number }).n;
  }

  write(end: RunEnd, facts: SettleFacts, now: Instant, hints: Set<StoreHint>): void {
    const connection = this.#connection;
    if (end.releasedSlot !== null) connection.prepare(releaseSlot).run(end.releasedSlot);
    const blockedBy = end.stopBy === null ? null : end.runId;
    const { changes } = connection
      .prepare(endRun)
      .run(
        end.startedAt,
        end.exitCode,
        end.stopBy === null ? 0 : 1,
        now,
        end.outcome,
        end.reason,
        end.message,
        end.evidence,
        end.spent,
        end.bySessionDeath ? 1 : 0,
        end.jobId,
        end.runId,
      );
    // The facts were read in this transaction, so the flip cannot miss; if it does, nothing of the group may stay.
    if (changes !== 1) throw new Error(`run ${end.runId} of job ${end.jobId} was live a moment ago and could not be ended`);
    connection.prepare(endLive).run(end.jobId, end.runId);
    connection
      .prepare(endJob)
      .run(
        end.jobState,
        end.runAt,
        end.finishedAt,
        end.attempts,
        end.losses,
        end.lastLossAt,
        end.error,
        end.output,
        blockedBy,
        end.stopBy,
        end.jobId,
      );
    if (end.jobState === "queued" && connection.prepare(makeReady).run(end.jobId).changes === 0)
      connection.prepare(makeReadyOnHost).run(end.jobId);
    if (end.visitId !== null) connection.prepare(spendOfVisit).run(end.attempts, end.losses, end.lastLossAt, end.visitId);
    if (end.actor !== null) {
      this.record({
        at: now,
        action: "run.ended",
        actor: end.actor,
        reason: end.reason,
        message: end.message,
        evidence: end.evidence,
        run: facts,
      });
    }
    if (end.alert !== null) {
      const { key, payload } = jobAlertEntry(end.alert, now);
      connection.prepare(insertAlert).run(key, payload, now, now);
      hints.add("outbox");
    }
    hintsOfEnd(end, hints);
  }

  record(row: RunAction): void {
    const { jobId, runId, itemId, workerId } = row.run;
    this.#connection
      .prepare(insertAction)
      .run(row.at, row.action, row.actor, row.reason, row.message ?? null, row.evidence ?? null, jobId, runId, itemId, workerId);
  }

  /** What a writer without the fence tried, kept once however often it tries. */
  recordLate(late: {
    readonly at: Instant;
    readonly actor: string;
    readonly reason: string;
    readonly tried: string;
    readonly run: SettleFacts;
  }): void {
    const { jobId, runId, itemId, workerId } = late.run;
    this.#connection.prepare(insertLateResult).run(late.at, late.actor, late.reason, late.tried, jobId, runId, itemId, workerId);
  }
}
