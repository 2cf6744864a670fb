import { asJobId, asRunId, firstOwnerEpoch, type ItemId, type JobId, type VisitId } from "../../domain/ids.ts";
import { addMs, type Instant } from "../../domain/time.ts";
import { inOrder, mergeClaim, type QueuePick } from "../jobs/claim-merge.ts";
import type { FirstChecks } from "../jobs/claim-rules.ts";
import { UnknownQueueError } from "../port/errors.ts";
import type { ClaimedRun, ClaimRequest, RunLimits } from "../port/runs.ts";
import type { StoreHint } from "../port/store.ts";
import type { SqliteConnection } from "./connection.ts";
import type { GroupPhase } from "./group-commit.ts";
import type { SqliteRunIds } from "./run-ids.ts";

const sessionRow = "select state, host_id from workers where id = ?";
/** Claims are numbered by their session: a live run of this number means that it was answered before. */
const askedBefore = "select 1 from live indexed by live_of_worker where worker_id = ? and claim_seq = ? limit 1";
const queueRow = `
  select q.id, q.kind, q.slot_key, q.paused, s.capacity - s.used as free
  from queues q left join slots s on s.key = q.slot_key where q.name = ?`;

/** All of that for the usual request, of one queue. */
const sessionAndQueue = `
  select w.state as session, w.host_id, exists (select 1 from live indexed by live_of_worker where worker_id = w.id and claim_seq = ?2) as asked,
    q.id, q.kind, q.slot_key, q.paused
  from workers w cross join queues q where w.id = ?1 and q.name = ?3`;

/** Where claimable jobs stand: for any worker, or for those of one host, which its statements are given too. */
interface ClaimPlace {
  readonly ids: string;
  readonly jobs: string;
  readonly insertByDistance: string;
  readonly insertByPlace: string;
  readonly remove: string;
}

function placeOf(from: "ready" | "ready_on_host"): ClaimPlace {
  const onHost = from === "ready_on_host";
  /** The condition with which the key begins. */
  const host = (column: string, parameter: string): string => (onHost ? `${column} = ${parameter} and ` : "");
  const next = `select priority, job_id from ${from} where ${host("host_id", "?")}queue_id = ? order by priority, job_id limit ?`;
  const insertLive = (place: string): string => `
  insert into live (job_id, id, attempt, state, worker_id, kind, claim_seq, reserved_at, started_at, check_at,
    timeout_ms, heartbeat_timeout_ms, max_running_ms, slot_key, item_id)
  select r.job_id, ?1 + ${place}, j.run_count + 1,
    case when (r.priority, r.job_id) <= (?2, ?3) then 'started' else 'reserved' end, ?4, ?5, ?6, ?7,
    case when (r.priority, r.job_id) <= (?2, ?3) then ?7 end, case when (r.priority, r.job_id) <= (?2, ?3) then ?8 else ?9 end,
    ?10, ?11, ?12, ?13, j.item_id
  from ${from} r cross join jobs j on j.id = r.job_id where ${host("r.host_id", "?18")}r.queue_id = ?14 and (r.priority, r.job_id) <= (?15, ?16)`;
  return {
    // In the key's order, which ends with the limit: nothing is sorted. One string crosses the boundary to JavaScript, however many rows.
    ids: `select json_group_array(json_array(priority, job_id)) as picked from (${next})`,
    // The first jobs of a queue with what their runs are told. The outer loop is the picked rows, so the array keeps their order.
    jobs: `
  select json_group_array(json_array(r.priority, r.job_id, j.run_count, j.item_id, j.visit_id, j.payload)) as picked from (${next}) r
  cross join jobs j on j.id = r.job_id`,
    // One writer skips nothing: what was picked is all up to its last row. The rows up to a second end start with the
    // claim. A job's distance from the first tells the run's id.
    insertByDistance: insertLive("r.job_id - ?17"),
    // For jobs that lie far apart: ids would run out.
    insertByPlace: insertLive("row_number() over (order by r.priority, r.job_id) - 1 + 0 * ?17"),
    remove: `delete from ${from} where ${host("host_id", "?")}queue_id = ? and (priority, job_id) <= (?, ?)`,
  };
}

const anywhere = placeOf("ready");
const onOneHost = placeOf("ready_on_host");
const anyOnHost = "select 1 from ready_on_host where host_id = ? and queue_id = ? limit 1";

const countVisitAttempts = "update visits set attempts = attempts + 1 where id in (select value from json_each(?))";
/** Marks the state files as stale; their deliverer reads each item as it is then. */
const noteStateFiles = `
  insert into outbox (kind, key, payload, due_at, created_at, host_id)
  select 'state-file', e.value, json_object('itemId', e.value), ?1, ?1, (select host_id from items where id = e.value)
  from json_each(?2) e where true
  on conflict (kind, key) do update set payload = excluded.payload, host_id = excluded.host_id, revision = revision + 1,
    attempts = case when due_at is null then 0 else attempts end, due_at = coalesce(due_at, excluded.due_at)`;
const takeSlots = "update slots set used = used + ? where key = ?";

/** In the order in which they are to be worked on. */
const runsOfClaim = `
  select json_group_array(json_array(id, owner_epoch, job_id, name, attempt, started, payload, item_id, visit_id)) as runs from (
    select l.id, l.owner_epoch, l.job_id, q.name, l.attempt, l.started_at is not null as started, j.payload, j.item_id, j.visit_id
    from live l indexed by live_of_worker cross join jobs j on j.id = l.job_id cross join queues q on q.id = j.queue_id
    where l.worker_id = ? and l.claim_seq = ? order by j.priority, j.id)`;

interface QueueRow {
  readonly id: number;
  readonly kind: "command" | "handler";
  readonly slot_key: string | null;
  readonly paused: number;
  readonly free: number | null;
}

interface UsualRow extends Omit<QueueRow, "free"> {
  readonly session: string;
  readonly host_id: string;
  readonly asked: number;
}

type PickedJob = readonly [
  priority: number,
  jobId: JobId,
  runCount: number,
  itemId: ItemId | null,
  visitId: VisitId | null,
  payload: string | null,
];

/** Where the started ones end when there is none: before every priority. */
const beforeAll = [-1_000_000, 0] as const;

/** What one request takes of one queue. */
interface Share {
  /** The host that alone may claim what is taken. Absent: any may. */
  readonly hostId?: string | undefined;
  readonly queue: Omit<QueueRow, "free">;
  readonly named: { readonly name: string; readonly limits: RunLimits };
  /** Most jobs. */
  readonly count: number;
  /** Most of them that start with the claim. */
  readonly started: number;
}

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
    const [named, another] = request.queues;
    if (named !== undefined && another === undefined) {
      const row = this.#connection.prepare(sessionAndQueue).get(request.workerId, request.claimSeq, named.name) as UsualRow | undefined;
      // Nothing to merge, and no slot to count.
      if (row?.session === "live" && row.asked === 0 && row.slot_key === null) {
        if (row.paused !== 0) return [];
        const onHost = this.#connection.prepare(anyOnHost).get(row.host_id, row.id) !== undefined;
        if (!onHost) return this.#take({ named, queue: row, count: request.max, started: request.startNow }, request, now, hints);
      }
    }
    return this.#claimAny(request, now, hints);
  }

  #claimAny(request: ClaimRequest, now: Instant, hints: Set<StoreHint>): readonly ClaimedRun[] {
    const session = this.#connection.prepare(sessionRow).get(request.workerId) as { state: string; host_id: string } | undefined;
    if (session?.state !== "live") {
      hints.add("workers");
      return [];
    }
    if (this.#connection.prepare(askedBefore).get(request.workerId, request.claimSeq) !== undefined) return this.#runsOfClaim(request);
    const queues = request.queues
      .map((named) => ({ named, queue: this.#queue(named.name) }))
      .flatMap((each) => [
        { ...each, hostId: undefined },
        { ...each, hostId: session.host_id },
      ]);
    const free = new Map<string, number>();
    for (const { queue } of queues) if (queue.slot_key !== null) free.set(queue.slot_key, queue.free ?? 0);
    const { shares, order, slots } = mergeClaim({
      picks: queues.map((each) => this.#pick(each, request.max)),
      free,
      max: request.max,
      startNow: request.startNow,
    });
    for (const [key, count] of slots) this.#connection.prepare(takeSlots).run(count, key);
    const runs = shares.flatMap(({ queue, ...share }) => {
      const of = queues[queue] as (typeof queues)[number];
      return this.#take({ ...of, ...share }, request, now, hints);
    });
    return shares.length <= 1 ? runs : inOrder(runs, order);
  }

  #queue(name: string): QueueRow {
    const row = this.#connection.prepare(queueRow).get(name) as QueueRow | undefined;
    if (row === undefined) throw new UnknownQueueError(name);
    return row;
  }

  #pick({ queue, hostId }: { readonly queue: QueueRow; readonly hostId: string | undefined }, max: number): QueuePick {
    const room = queue.slot_key === null ? max : Math.min(max, queue.free ?? 0);
    const jobs = queue.paused !== 0 || room <= 0 ? [] : this.#claimable(queue.id, room, hostId);
    return { kind: queue.kind, slotKey: queue.slot_key, jobs };
  }

  #claimable(queueId: number, limit: number, hostId: string | undefined): QueuePick["jobs"] {
    const { ids } = placeFor(hostId);
    const { picked } = this.#connection.prepare(ids).get(...hostOf(hostId), queueId, limit) as { picked: string };
    return JSON.parse(picked) as QueuePick["jobs"];
  }

  #take(share: Share, request: ClaimRequest, now: Instant, hints: Set<StoreHint>): readonly ClaimedRun[] {
    const { queue, named, count, hostId } = share;
    const place = placeFor(hostId);
    const { picked } = this.#connection.prepare(place.jobs).get(...hostOf(hostId), queue.id, count) as { picked: string };
    const jobs = JSON.parse(picked) as readonly PickedJob[];
    const last = jobs.at(-1);
    if (last === undefined) return [];
    const started = queue.kind === "handler" ? Math.min(share.started, jobs.length) : 0;
    const ids = this.#idsFor(jobs, place);
    const [startedPriority, startedId] = jobs[started - 1] ?? beforeAll;
    const { limits } = named;
    const { changes } = this.#connection
      .prepare(ids.insert)
      .run(
        ids.first,
        startedPriority,
        startedId,
        request.workerId,
        queue.kind,
        request.claimSeq,
        now,
        this.#checks.firstCheckAt(now, limits),
        addMs(now, this.#checks.startWithinMs()),
        limits.timeoutMs ?? null,
        limits.heartbeatTimeoutMs ?? null,
        limits.maxRunningMs ?? null,
        queue.slot_key,
        queue.id,
        last[0],
        last[1],
        ids.firstJob,
        ...hostOf(hostId),
      );
    // Read in this transaction, and nobody else writes: if they differ, nothing of it may stay.
    if (changes !== jobs.length) throw new Error(`${jobs.length} jobs of queue ${named.name} were claimable and ${changes} were claimed`);
    this.#connection.prepare(place.remove).run(...hostOf(hostId), queue.id, last[0], last[1]);
    return this.#runsOf(jobs, { share, started, runIdOf: ids.of, now, hints });
  }

  /** Run ids for these jobs, and the statement that gives them the same ones. */
  #idsFor(jobs: readonly PickedJob[], { insertByDistance, insertByPlace }: ClaimPlace) {
    let firstJob = Number.POSITIVE_INFINITY;
    let lastJob = 0;
    for (const [, jobId] of jobs) {
      firstJob = Math.min(firstJob, jobId);
      lastJob = Math.max(lastJob, jobId);
    }
    const span = lastJob - firstJob + 1;
    const close = span <= jobs.length * 2;
    const first = this.#runIds.take(close ? span : jobs.length);
    const of = close ? (jobId: number): number => first + jobId - firstJob : (_: number, place: number): number => first + place;
    return { first, firstJob, insert: close ? insertByDistance : insertByPlace, of };
  }

  #runsOf(
    jobs: readonly PickedJob[],
    claimed: {
      readonly share: Share;
      readonly started: number;
      readonly runIdOf: (jobId: number, place: number) => number;
      readonly now: Instant;
      readonly hints: Set<StoreHint>;
    },
  ): readonly ClaimedRun[] {
    const { share, started, runIdOf, now, hints } = claimed;
    const { queue, named } = share;
    const visits: VisitId[] = [];
    const items: ItemId[] = [];
    const runs = jobs.map(([, jobId, runCount, itemId, visitId, payload], place): ClaimedRun => {
      const run: ClaimedRun = {
        runId: asRunId(runIdOf(jobId, place)),
        ownerEpoch: firstOwnerEpoch,
        jobId,
        queue: named.name,
        attempt: runCount + 1,
        started: place < started,
        payload,
        itemId,
        visitId,
      };
      if (itemId !== null || queue.slot_key !== null) this.#onSpecial(run);
      if (itemId !== null) items.push(itemId);
      if (visitId !== null && run.started) visits.push(visitId);
      return run;
    });
    if (visits.length > 0) this.#connection.prepare(countVisitAttempts).run(JSON.stringify(visits));
    if (items.length > 0) {
      this.#connection.prepare(noteStateFiles).run(now, JSON.stringify(items));
      hints.add("outbox");
    }
    return runs;
  }

  #runsOfClaim(request: ClaimRequest): readonly ClaimedRun[] {
    const { runs } = this.#connection.prepare(runsOfClaim).get(request.workerId, request.claimSeq) as { runs: string };
    return (JSON.parse(runs) as readonly unknown[][]).map(claimedAgain);
  }
}

const placeFor = (hostId: string | undefined): ClaimPlace => (hostId === undefined ? anywhere : onOneHost);
const hostOf = (hostId: string | undefined): readonly string[] => (hostId === undefined ? [] : [hostId]);

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
