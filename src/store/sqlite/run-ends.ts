import type { RunId } from "../../domain/ids.ts";
import type { Instant } from "../../domain/time.ts";
import { jobAlertEntry } from "../jobs/job-alert.ts";
import type { StoreHint } from "../port/store.ts";
import { hintsOfEnd, type RunEnd, type SettleFacts } from "../runs/settle-plan.ts";
import type { SqliteConnection } from "./connection.ts";

const factColumns = `
  r.id as runId, r.job_id as jobId, r.attempt as attempt, r.state as state, r.owner_epoch as ownerEpoch, r.worker_id as workerId,
  r.slot_key as slotKey, r.outcome as outcome, r.reason as reason, r.exit_code as exitCode,
  j.current_run_id as currentRunId, j.current_epoch as currentEpoch,
  j.attempts as attempts, j.max_attempts as maxAttempts, j.losses as losses, j.max_losses as maxLosses, j.last_loss_at as lastLossAt,
  (select count(*) from runs p where p.job_id = r.job_id and p.attempt < r.attempt and p.by_session_death = 1 and p.attempt > coalesce(
    (select b.attempt from runs b where b.job_id = r.job_id and b.attempt < r.attempt and b.outcome not in ('never_started', 'released')
     order by b.attempt desc limit 1), 0)) as sessionDeaths,
  j.item_id as itemId, j.visit_id as visitId, q.name as queue, j.agent as agent, j.repo as repo`;

const factJoins = `cross join jobs j on j.id = r.job_id cross join queues q on q.id = j.queue_id`;

const factsOfRun = `select ${factColumns} from runs r ${factJoins} where r.id = ?`;

/** Live handler runs and unstarted runs of plain jobs that these sessions hold, from the index of live runs alone. */
const factsOfLost = `
  select ${factColumns}
  from (select * from runs indexed by runs_of_worker
        where worker_id in (select value from json_each(?)) and ended_at is null and (kind = 'handler' or state = 'reserved') and state <> 'exited') r
  ${factJoins} where j.item_id is null limit ?`;

const countOfLost = `
  select count(*) as n from (select job_id from runs indexed by runs_of_worker
        where worker_id in (select value from json_each(?)) and ended_at is null and (kind = 'handler' or state = 'reserved') and state <> 'exited') r
  cross join jobs j on j.id = r.job_id where j.item_id is null`;

const endJob = `
  update jobs set state = ?, run_at = coalesce(?, run_at), finished_at = ?, attempts = ?, losses = ?, last_loss_at = ?,
    error = coalesce(?, error), output = coalesce(?, output), blocked_by = ?, stop_by = ?, current_run_id = null, current_epoch = null
  where id = ? and current_run_id = ?`;
const endRun = `
  update runs set state = 'ended', ended_at = ?, outcome = ?, reason = ?, message = ?, evidence = ?, exit_code = coalesce(?, exit_code),
    started_at = coalesce(started_at, ?), spent = ?, by_session_death = ?, slot_key = case when ? then slot_key end
  where id = ? and ended_at is null`;
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
    return this.#connection.prepare(factsOfRun).get(runId) as SettleFacts | undefined;
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
        end.runId,
      );
    connection
      .prepare(endRun)
      .run(
        now,
        end.outcome,
        end.reason,
        end.message,
        end.evidence,
        end.exitCode,
        end.startedAt,
        end.spent,
        end.bySessionDeath ? 1 : 0,
        end.stopBy === null ? 0 : 1,
        end.runId,
      );
    // The facts were read in this transaction, so the flip cannot miss; if it does, nothing of the group may stay.
    if (changes !== 1) throw new Error(`run ${end.runId} of job ${end.jobId} was live a moment ago and could not be ended`);
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
