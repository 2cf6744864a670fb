import { asJobId, asRunId, firstOwnerEpoch, type ItemId, type JobId, type VisitId } from "../../domain/ids.ts";
import { addMs, type Instant } from "../../domain/time.ts";
import { type ClaimPart, inOrder, mergeClaim, type QueuePick } from "../jobs/claim-merge.ts";
import type { FirstChecks } from "../jobs/claim-rules.ts";
import { UnknownQueueError } from "../port/errors.ts";
import type { ClaimedRun, ClaimRequest, RunLimits } from "../port/runs.ts";
import type { StoreHint } from "../port/store.ts";
import type { SqliteConnection } from "./connection.ts";
import type { GroupPhase } from "./group-commit.ts";
import type { SqliteRunIds } from "./run-ids.ts";

const sessionRow = "select state from workers where id = ?";
/** Claims are numbered by their session: a live run of this number means that it was answered before. */
const askedBefore = "select 1 from runs indexed by runs_of_worker where worker_id = ? and claim_seq = ? and ended_at is null limit 1";
const queueRow = `
  select q.id, q.kind, q.slot_key, q.paused, s.capacity - s.used as free
  from queues q left join slots s on s.key = q.slot_key where q.name = ?`;

/** In the index's order, which ends with the limit: nothing is sorted. One string crosses the boundary to JavaScript, whatever the number of rows. */
const claimableIds = `
  select json_group_array(json_array(priority, id)) as picked from (
    select priority, id from jobs indexed by jobs_claimable
    where queue_id = ? and state = 'queued' and blocked_by is null and paused = 0
    order by priority, id limit ?)`;

/** Unguarded by state: the ids were read in this transaction, and no other writer exists while it lasts. */
const flipJobs = `
  update jobs set state = 'running', current_run_id = ? + e.key, current_epoch = 1, run_count = run_count + 1, attempts = attempts + ?
  from json_each(?) e where jobs.id = e.value`;

/** After the flip, so that the attempt's number comes from the job's own row. */
const insertRuns = `
  insert into runs (id, job_id, attempt, state, worker_id, kind, claim_seq, reserved_at, started_at, check_at,
    timeout_ms, heartbeat_timeout_ms, max_running_ms, slot_key)
  select ? + e.key, j.id, j.run_count, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?
  from json_each(?) e cross join jobs j on j.id = e.value`;

const claimedDetails = `
  select json_group_array(json_array(j.run_count, j.item_id, j.visit_id, j.payload)) as details
  from json_each(?) e cross join jobs j on j.id = e.value`;

const countVisitAttempts = "update visits set attempts = attempts + 1 where id in (select value from json_each(?))";
/** Marks the state files as stale; their deliverer reads each item as it is then. */
const noteStateFiles = `
  insert into outbox (kind, key, payload, due_at, created_at)
  select 'state-file', e.value, json_object('itemId', e.value), ?1, ?1 from json_each(?2) e where true
  on conflict (kind, key) do update set payload = excluded.payload, revision = revision + 1,
    attempts = case when due_at is null then 0 else attempts end, due_at = coalesce(due_at, excluded.due_at)`;
const takeSlots = "update slots set used = used + ? where key = ?";

const runsOfClaim = `
  select json_group_array(json_array(r.id, r.owner_epoch, r.job_id, q.name, r.attempt, r.started_at is not null, j.payload, j.item_id, j.visit_id)) as runs
  from (select * from runs where worker_id = ? and ended_at is null and claim_seq = ? order by id) r
  cross join jobs j on j.id = r.job_id cross join queues q on q.id = j.queue_id`;

interface QueueRow {
  readonly id: number;
  readonly kind: "command" | "handler";
  readonly slot_key: string | null;
  readonly paused: number;
  readonly free: number | null;
}

type Detail = readonly [runCount: number, itemId: ItemId | null, visitId: VisitId | null, payload: string | null];

/** Turns claimable jobs into runs of the asking session. */
export class ClaimPhase implements GroupPhase<ClaimRequest, readonly ClaimedRun[]> {
  readonly #connection: SqliteConnection;
  readonly #runIds: SqliteRunIds;
  readonly #now: () => Instant;
  readonly #checks: FirstChecks;
  readonly #onSpecial: (run: ClaimedRun) => void;

  constructor(options: {
    readonly connection: SqliteConnection;
    readonly runIds: SqliteRunIds;
    readonly now: () => Instant;
    readonly checks: FirstChecks;
    /** Called for runs with a slot or an item, which the plain batch cannot settle. */
    readonly onSpecial: (run: ClaimedRun) => void;
  }) {
    this.#connection = options.connection;
    this.#runIds = options.runIds;
    this.#now = options.now;
    this.#checks = options.checks;
    this.#onSpecial = options.onSpecial;
  }

  weigh(request: ClaimRequest): number {
    return Math.max(1, request.max);
  }

  apply(requests: readonly ClaimRequest[], hints: Set<StoreHint>): readonly (readonly ClaimedRun[])[] {
    const now = this.#now();
    return requests.map((request) => this.#claim(request, now, hints));
  }

  #claim(request: ClaimRequest, now: Instant, hints: Set<StoreHint>): readonly ClaimedRun[] {
    const session = this.#connection.prepare(sessionRow).get(request.workerId) as { state: string } | undefined;
    if (session?.state !== "live") {
      hints.add("workers");
      return [];
    }
    if (this.#connection.prepare(askedBefore).get(request.workerId, request.claimSeq) !== undefined) return this.#runsOfClaim(request);
    const queues = request.queues.map(({ name }) => this.#queue(name));
    const free = new Map<string, number>();
    for (const { slot_key, free: room } of queues) if (slot_key !== null) free.set(slot_key, room ?? 0);
    const merged = mergeClaim({
      picks: queues.map((queue) => this.#pick(queue, request.max)),
      free,
      max: request.max,
      startNow: request.startNow,
    });
    if (merged.parts.length === 0) return [];
    for (const [key, count] of merged.slots) this.#connection.prepare(takeSlots).run(count, key);
    const runs: ClaimedRun[] = [];
    for (const part of merged.parts) {
      this.#take({
        part,
        queue: queues[part.queue] as QueueRow,
        named: request.queues[part.queue] as ClaimRequest["queues"][number],
        request,
        now,
        runs,
        hints,
      });
    }
    return merged.parts.length === 1 ? runs : inOrder(runs, merged.order);
  }

  #queue(name: string): QueueRow {
    const row = this.#connection.prepare(queueRow).get(name) as QueueRow | undefined;
    if (row === undefined) throw new UnknownQueueError(name);
    return row;
  }

  #pick(queue: QueueRow, max: number): QueuePick {
    const room = queue.slot_key === null ? max : Math.min(max, queue.free ?? 0);
    const jobs = queue.paused !== 0 || room <= 0 ? [] : this.#claimable(queue.id, room);
    return { kind: queue.kind, slotKey: queue.slot_key, jobs };
  }

  #claimable(queueId: number, limit: number): QueuePick["jobs"] {
    const { picked } = this.#connection.prepare(claimableIds).get(queueId, limit) as { picked: string };
    return JSON.parse(picked) as QueuePick["jobs"];
  }

  #take(options: {
    readonly part: ClaimPart;
    readonly queue: QueueRow;
    readonly named: { readonly name: string; readonly limits: RunLimits };
    readonly request: ClaimRequest;
    readonly now: Instant;
    readonly runs: ClaimedRun[];
    readonly hints: Set<StoreHint>;
  }): void {
    const { part, queue, named, request, now, runs, hints } = options;
    const { started, jobIds } = part;
    const { limits } = named;
    const firstRunId = this.#runIds.take(jobIds.length);
    const ids = `[${jobIds.join(",")}]`;
    const checkAt = started ? this.#checks.firstCheckAt(now, limits) : addMs(now, this.#checks.startWithinMs());
    this.#connection.prepare(flipJobs).run(firstRunId, started ? 1 : 0, ids);
    this.#connection
      .prepare(insertRuns)
      .run(
        firstRunId,
        started ? "started" : "reserved",
        request.workerId,
        queue.kind,
        request.claimSeq,
        now,
        started ? now : null,
        checkAt,
        limits.timeoutMs ?? null,
        limits.heartbeatTimeoutMs ?? null,
        limits.maxRunningMs ?? null,
        queue.slot_key,
        ids,
      );
    const { details } = this.#connection.prepare(claimedDetails).get(ids) as { details: string };
    const rows = JSON.parse(details) as readonly Detail[];
    const visits: VisitId[] = [];
    const items: ItemId[] = [];
    for (let index = 0; index < jobIds.length; index += 1) {
      const [attempt, itemId, visitId, payload] = rows[index] as Detail;
      if (started && visitId !== null) visits.push(visitId);
      if (itemId !== null) items.push(itemId);
      const run: ClaimedRun = {
        runId: asRunId(firstRunId + index),
        ownerEpoch: firstOwnerEpoch,
        jobId: jobIds[index] as JobId,
        queue: named.name,
        attempt,
        started,
        payload,
        itemId,
        visitId,
      };
      if (itemId !== null || queue.slot_key !== null) this.#onSpecial(run);
      runs.push(run);
    }
    if (visits.length > 0) this.#connection.prepare(countVisitAttempts).run(JSON.stringify(visits));
    if (items.length > 0) {
      this.#connection.prepare(noteStateFiles).run(now, JSON.stringify(items));
      hints.add("outbox");
    }
  }

  #runsOfClaim(request: ClaimRequest): readonly ClaimedRun[] {
    const { runs } = this.#connection.prepare(runsOfClaim).get(request.workerId, request.claimSeq) as { runs: string };
    return (JSON.parse(runs) as readonly unknown[][]).map(claimedAgain);
  }
}

/** A run of a claim that was answered before, from its row of {@link runsOfClaim}. */
function claimedAgain(row: readonly unknown[]): ClaimedRun {
  const [runId, ownerEpoch, jobId, queue, attempt, started, payload, itemId, visitId] = row;
  return {
    runId: asRunId(runId as number),
    ownerEpoch: ownerEpoch as ClaimedRun["ownerEpoch"],
    jobId: asJobId(jobId as number),
    queue: queue as string,
    attempt: attempt as number,
    started: Boolean(started),
    payload: payload as string | null,
    itemId: itemId as ItemId | null,
    visitId: visitId as VisitId | null,
  };
}
