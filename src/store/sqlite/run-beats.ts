import type { RunId } from "../../domain/ids.ts";
import type { WorkerState } from "../../domain/lifecycles/worker.ts";
import type { Instant } from "../../domain/time.ts";
import type { JobsStore } from "../port/jobs.ts";
import type { FencedAnswer, RunsStore, StartRun } from "../port/runs.ts";
import type { StoreHint } from "../port/store.ts";
import type { WorkersStore } from "../port/workers.ts";
import { type NotHeldRow, noSuchSession, startAnswer, whyNotHeld } from "../runs/held-runs.ts";
import type { SqliteConnection } from "./connection.ts";
import type { SqliteRunEnds } from "./run-ends.ts";

const startRun = `
  update live set state = 'started', started_at = ?, check_at = ?, timeout_ms = ?, heartbeat_timeout_ms = ?, max_running_ms = ?,
    host_id = ?, boot_id = ?, pid_namespace = ?, pid = ?, start_time = ?, wrapper_pid = ?, wrapper_start_time = ?
  where id = ? and owner_epoch = ? and state = 'reserved'
  returning job_id, item_id`;
const countVisitAttempt = "update visits set attempts = attempts + 1 where id = (select visit_id from jobs where id = ?)";
const noteStateFile = `
  insert into outbox (kind, key, payload, due_at, created_at, host_id)
  values ('state-file', ?1, json_object('itemId', ?1), ?2, ?2, (select host_id from items where id = ?1))
  on conflict (kind, key) do update set payload = excluded.payload, host_id = excluded.host_id, revision = revision + 1,
    attempts = case when due_at is null then 0 else attempts end, due_at = coalesce(due_at, excluded.due_at)`;

/** `max`: beats of one run may overtake each other. Nothing that this statement changes is indexed. */
const beatRun = `
  update live set progress_at = max(coalesce(progress_at, 0), ?), progress = coalesce(?, progress) where id = ?`;

const moveCheck = "update live set check_at = ? where id = ? and owner_epoch = ?";

const renewSession = `
  update workers set last_heard_at = max(last_heard_at, ?), claim_seq_received = max(claim_seq_received, ?), loop_lag_ms = coalesce(?, loop_lag_ms),
    via = coalesce(?, via)
  where id = ? and state in ('live', 'draining')`;
const notHeld = `
  select e.value as runId, coalesce(l.state, r.state) as state, coalesce(l.owner_epoch, r.owner_epoch) as ownerEpoch, r.outcome as outcome,
    r.reason as reason, coalesce(l.worker_id, r.worker_id) as workerId
  from json_each(?) e left join live l on l.id = e.value left join runs r on l.id is null and r.id = e.value
  where l.id is null or l.worker_id is not ?`;

const promoteDue = `
  update jobs set state = 'queued', scheduled_at = null where id in (
    select id from jobs indexed by jobs_scheduled where scheduled_at is not null and scheduled_at <= ? order by scheduled_at, id limit ?)
  returning id`;
/** A paused job stays out, and so does one that waits for a run that is being stopped. */
const makeReady = `
  insert into ready (queue_id, priority, job_id)
  select j.queue_id, j.priority, j.id from json_each(?) e cross join jobs j on j.id = e.value
  where j.blocked_by is null and j.paused = 0 and j.host_id is null`;
const makeReadyOnHost = `
  insert into ready_on_host (host_id, queue_id, priority, job_id)
  select j.host_id, j.queue_id, j.priority, j.id from json_each(?) e cross join jobs j on j.id = e.value
  where j.blocked_by is null and j.paused = 0 and j.host_id is not null`;
const nextDue = `
  select scheduled_at as dueAt from jobs indexed by jobs_scheduled where scheduled_at is not null order by scheduled_at, id limit 1`;

/** The small hot writes of the embedded engine. Synchronous: they share the transaction of the turn. */
export class SqliteRunBeats {
  readonly #connection: SqliteConnection;
  readonly #ends: SqliteRunEnds;

  constructor(options: { readonly connection: SqliteConnection; readonly ends: SqliteRunEnds }) {
    this.#connection = options.connection;
    this.#ends = options.ends;
  }

  start(run: StartRun, now: Instant, hints: Set<StoreHint>): FencedAnswer {
    const { limits, wrapper = null } = run;
    const begun = this.#connection
      .prepare(startRun)
      .get(
        run.startedAt,
        run.checkAt,
        limits.timeoutMs ?? null,
        limits.heartbeatTimeoutMs ?? null,
        limits.maxRunningMs ?? null,
        wrapper?.hostId ?? null,
        wrapper?.bootId ?? null,
        wrapper?.pidNamespace ?? null,
        wrapper?.pid ?? null,
        wrapper?.startTime ?? null,
        wrapper?.pid ?? null,
        wrapper?.startTime ?? null,
        run.runId,
        run.ownerEpoch,
      ) as { job_id: number; item_id: number | null } | undefined;
    if (begun === undefined) return startAnswer(run, this.#ends.facts(run.runId));
    if (begun.item_id !== null) {
      this.#connection.prepare(countVisitAttempt).run(begun.job_id);
      this.#connection.prepare(noteStateFile).run(begun.item_id, now);
      hints.add("outbox");
    }
    return { kind: "ok" };
  }

  beat(beats: Parameters<RunsStore["beat"]>[0]): readonly RunId[] {
    const statement = this.#connection.prepare(beatRun);
    return beats.filter(({ runId, at, progress }) => statement.run(at, progress ?? null, runId).changes === 0).map(({ runId }) => runId);
  }

  moveChecks(checks: Parameters<RunsStore["moveChecks"]>[0]): readonly RunId[] {
    const statement = this.#connection.prepare(moveCheck);
    return checks
      .filter(({ runId, ownerEpoch, checkAt }) => statement.run(checkAt, runId, ownerEpoch).changes > 0)
      .map(({ runId }) => runId);
  }

  renew(renewal: Parameters<WorkersStore["renew"]>[0], now: Instant): Awaited<ReturnType<WorkersStore["renew"]>> {
    const { workerId, held } = renewal;
    this.#connection.prepare(renewSession).run(now, renewal.claimSeqReceived, renewal.loopLagMs ?? null, renewal.via ?? null, workerId);
    const worker = this.#connection.prepare("select state from workers where id = ?").get(workerId) as { state: WorkerState } | undefined;
    if (worker === undefined) throw noSuchSession(workerId);
    const rows = held.length === 0 ? [] : (this.#connection.prepare(notHeld).all(JSON.stringify(held), workerId) as NotHeldRow[]);
    return { state: worker.state, lost: rows.map((row) => ({ runId: row.runId, why: whyNotHeld(row) })) };
  }

  promoteDue(limit: number, now: Instant, hints: Set<StoreHint>): Awaited<ReturnType<JobsStore["promoteDue"]>> {
    const moved = (this.#connection.prepare(promoteDue).all(now, limit) as { readonly id: number }[]).map(({ id }) => id);
    if (moved.length > 0) {
      const ids = JSON.stringify(moved);
      this.#connection.prepare(makeReady).run(ids);
      this.#connection.prepare(makeReadyOnHost).run(ids);
      hints.add("jobs");
    }
    const next = this.#connection.prepare(nextDue).get() as { dueAt: Instant } | undefined;
    return { moved: moved.length, nextDueAt: next?.dueAt };
  }
}
