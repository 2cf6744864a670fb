import { asJobId, asRunId, firstOwnerEpoch, type ItemId, type OwnerEpoch, type VisitId } from "../../domain/ids.ts";
import { addMs, type Instant } from "../../domain/time.ts";
import type { FirstChecks } from "../jobs/claim-rules.ts";
import type { ClaimedRun, ClaimRequest } from "../port/runs.ts";
import type { BoundsVersion, ClaimBounds, QueuePlace } from "./claim-bounds.ts";
import type { LaneBatch, LanePhase } from "./lanes.ts";
import type { Verb } from "./run-beats.ts";
import type { BoundStatement, Rows, Statement } from "./turn-connection.ts";

/** A claim that is repeated while its first call is under way waits here for that call's commit; no other claim does. */
const oneAtATime: Statement = { name: "claim_lock", text: "select pg_advisory_xact_lock(hashtextextended($1, 7))" };

/** The queues that are asked for, as they are now. None: the session is not live, or this claim was answered before. */
const named = `
    named as materialized (
      select q.id, q.kind, q.slot_key, n.after_priority, n.after_job, n.timeout_ms, n.heartbeat_timeout_ms, n.max_running_ms, n.started_check_at
      from unnest($3::bigint[], $4::integer[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[])
        as n (id, after_priority, after_job, timeout_ms, heartbeat_timeout_ms, max_running_ms, started_check_at)
      cross join lateral (select id, kind, slot_key from queues where id = n.id and paused is false offset 0) q
      where exists (select 1 from workers where id = $1 and state = 'live')
        and not exists (select 1 from live where worker_id = $1 and claim_seq = $2)
    )`;

/** The first of each queue that nobody else is taking. */
const candidates = `
      select c.row, c.priority, c.job_id, n.kind, n.slot_key
      from named n cross join lateral (
        select ctid as row, priority, job_id from ready
        where queue_id = n.id and (priority, job_id) > (n.after_priority, n.after_job)
        order by priority, job_id limit $10 for update skip locked) c`;

/** The same of what the session's host alone may claim. */
const candidatesOnHost = `
      select c.row, c.priority, c.job_id, n.kind, n.slot_key, true as on_host
      from named n cross join lateral (
        select ctid as row, priority, job_id from ready_on_host
        where host_id = (select host_id from workers where id = $1) and queue_id = n.id
          and (priority, job_id) > (n.after_priority, n.after_job)
        order by priority, job_id limit $10 for update skip locked) c`;

const chosen = `
    chosen as materialized (
      select id as job_id, queue_id, run_count + 1 as attempt, id = any(array(select job_id from best where kind = 'handler' limit $11)) as started,
        payload, item_id, visit_id, priority
      from jobs where id = any(array(select job_id from best))
    )`;

/** Out of `ready` and into `live`. Nothing is written on the job. */
const moved = (condition: string): string => `
    taken as (
      delete from ready where ctid = any(array(select row from best${condition}))
    ), made as (
      insert into live (job_id, id, attempt, state, worker_id, kind, claim_seq, reserved_at, started_at, check_at,
        timeout_ms, heartbeat_timeout_ms, max_running_ms, slot_key, item_id)
      select w.job_id, w.run_id, w.attempt, case when w.started then 'started' else 'reserved' end, $1, n.kind, $2, $12::bigint,
        case when w.started then $12::bigint end, case when w.started then n.started_check_at else $13::bigint end,
        n.timeout_ms, n.heartbeat_timeout_ms, n.max_running_ms, n.slot_key, w.item_id
      from work w join named n on n.id = w.queue_id where w.run_id is not null
    )
    `;

const answer = "select run_id, job_id, queue_id, attempt, started, payload, item_id, visit_id, priority from work";

/**
 * Knows nothing of slots, visits and state files: takes nothing where a queue has a slot, or where a job has an item, which it answers without
 * a run. It looks in the snapshot in which it takes.
 */
const claimPlain: Statement = {
  name: "claim_plain",
  text: `
    with ${named}, best as materialized (${candidates}
      where not exists (select 1 from named where slot_key is not null) order by 2, 3 limit $10
    ), ${chosen}, work as materialized (
      select case when not exists (select 1 from chosen where item_id is not null) then nextval('run_ids') end as run_id, c.* from chosen c
    ), ${moved(" where not exists (select 1 from chosen where item_id is not null)")}
    ${answer}`,
};

/** The room of the slots that the queues name, locked. */
const afterSlots = "where (select count(*) from rooms) >= 0";

/** For all queues without pinned jobs. */
const claimAny: Statement = {
  name: "claim",
  text: claimText({
    candidates: `${candidates}
      ${afterSlots}`,
    columns: "row, priority, job_id, kind",
    moved: moved(""),
  }),
};

/** For all queues. */
const claimOnHost: Statement = {
  name: "claim_on_host",
  text: claimText({
    candidates: `select *, false as on_host from (${candidates}
      ${afterSlots}) anywhere
      union all${candidatesOnHost}
      ${afterSlots}`,
    columns: "row, priority, job_id, kind, on_host",
    moved: `
    taken_on_host as (
      delete from ready_on_host where ctid = any(array(select row from best where on_host))
    ), ${moved(" where not on_host")}`,
  }),
};

/** Slots are locked before any job is, so that no claim that waits for one holds another's job. */
function claimText(parts: { readonly candidates: string; readonly columns: string; readonly moved: string }): string {
  const { columns } = parts;
  return `
    with ${named}, rooms as materialized (
      select key, greatest(capacity - used, 0) as room from slots
      where key = any(array(select slot_key from named where slot_key is not null)) order by key for update
    ), candidates as materialized (${parts.candidates}
    ), roomy as materialized (
      select ${columns} from candidates where slot_key is null
      union all
      select ${columns} from (
        select c.*, row_number() over (partition by c.slot_key order by c.priority, c.job_id) as place
        from candidates c where c.slot_key is not null) s
      where s.place <= (select room from rooms where key = s.slot_key)
    ), best as materialized (
      select * from roomy order by priority, job_id limit $10
    ), ${chosen}, work as materialized (
      select nextval('run_ids') as run_id, c.*, n.slot_key from chosen c join named n on n.id = c.queue_id
    ), counted as (
      update visits set attempts = attempts + 1 where id = any(array(select visit_id from work where started and visit_id is not null))
    ), filled as (
      update slots set used = used + cardinality(array_positions(array(select slot_key from work where slot_key is not null), key))
      where key = any(array(select slot_key from work where slot_key is not null))
    ), noted as (
      insert into outbox (kind, key, payload, due_at, created_at, host_id)
      select 'state-file', w.item_id::text, json_build_object('itemId', w.item_id)::text, $12::bigint, $12::bigint,
        (select host_id from items where id = w.item_id)
      from work w where w.item_id is not null
      order by w.item_id
      on conflict (kind, key) do update set payload = excluded.payload, host_id = excluded.host_id, revision = outbox.revision + 1,
        attempts = case when outbox.due_at is null then 0 else outbox.attempts end, due_at = coalesce(outbox.due_at, excluded.due_at)
    ), ${parts.moved}
    ${answer}`;
}

/** A claim that was answered before: its runs, as long as they live and are the session's. */
const runsOfClaim: Statement = {
  name: "claimed",
  text: `
    select l.id, l.job_id, q.name, l.attempt, l.started_at is not null, j.payload, j.item_id, j.visit_id, j.priority, l.owner_epoch
    from (select * from live where worker_id = $1 and claim_seq = $2 offset 0) l
    join jobs j on j.id = l.job_id join queues q on q.id = j.queue_id`,
};

/** Of the queues that a claim was sent for, those with a slot, and those with jobs that the session's host alone may claim. */
const specialQueues: Statement = {
  name: "special",
  text: `
    select id, on_host from (
      select id, slot_key is not null as slotted, exists (
        select 1 from ready_on_host where host_id = (select host_id from workers where id = $2) and queue_id = queues.id) as on_host
      from queues where id = any($1::bigint[])) q
    where slotted or on_host`,
};

/** The place before which no queue has anything. */
const beginning: QueuePlace = { priority: -2_147_483_648, jobId: asJobId(0) };

export interface ClaimInput {
  readonly request: ClaimRequest;
  /** Ids of the request's queues, in its order. */
  readonly queueIds: readonly number[];
}

export interface ClaimAnswer {
  /** Empty also for a claim that was answered before, and for a session that is not live. */
  readonly runs: readonly ClaimedRun[];
  /** Nothing was taken, and the same claim asked once more may take something. */
  readonly again: boolean;
}

interface Built {
  readonly input: ClaimInput;
  readonly now: Instant;
  readonly since: BoundsVersion;
  readonly bounded: boolean;
  readonly statements: readonly BoundStatement[];
}

/** Takes jobs. */
export class ClaimPhase implements LanePhase<ClaimInput, ClaimAnswer> {
  readonly #now: () => Instant;
  readonly #checks: FirstChecks;
  readonly #bounds: ClaimBounds;
  /** Queues that were seen with a slot or with jobs of items: the plain statement is not tried on them again. */
  readonly #special = new Set<number>();
  /** Queues that were seen with jobs that this host alone may claim. */
  readonly #onHost = new Set<number>();
  readonly #unanswered = new WeakSet<ClaimInput>();

  constructor(options: { readonly now: () => Instant; readonly checks: FirstChecks; readonly bounds: ClaimBounds }) {
    this.#now = options.now;
    this.#checks = options.checks;
    this.#bounds = options.bounds;
  }

  weigh({ request }: ClaimInput): number {
    return Math.max(1, request.max);
  }

  batch(inputs: readonly ClaimInput[]): LaneBatch<ClaimAnswer> {
    // Undone with its turn: claims beside it have passed over what it had locked.
    if (inputs.some((input) => this.#unanswered.has(input))) this.#bounds.drop();
    const now = this.#now();
    const built = inputs.map((input) => this.#build(input, now));
    return {
      statements: built.flatMap(({ statements }) => statements),
      answers: (rows) => built.map((one, index) => this.#answer(one, rows[index * 2 + 1] ?? [])),
    };
  }

  /** These are not plain. False: that was known. */
  learn(queues: readonly SpecialQueue[]): boolean {
    const known = (): number => this.#special.size + this.#onHost.size;
    const before = known();
    for (const { id, onHost } of queues) {
      this.#special.add(id);
      if (onHost) this.#onHost.add(id);
    }
    return known() > before;
  }

  #statementFor(queueIds: readonly number[]): Statement {
    if (queueIds.some((id) => this.#onHost.has(id))) return claimOnHost;
    return queueIds.some((id) => this.#special.has(id)) ? claimAny : claimPlain;
  }

  #build(input: ClaimInput, now: Instant): Built {
    const { request, queueIds } = input;
    this.#unanswered.add(input);
    const after = queueIds.map((id) => this.#bounds.of(id, now));
    const limits = request.queues.map((queue) => queue.limits);
    const values = [
      request.workerId,
      request.claimSeq,
      queueIds,
      after.map((place) => (place ?? beginning).priority),
      after.map((place) => (place ?? beginning).jobId),
      limits.map(({ timeoutMs }) => timeoutMs ?? null),
      limits.map(({ heartbeatTimeoutMs }) => heartbeatTimeoutMs ?? null),
      limits.map(({ maxRunningMs }) => maxRunningMs ?? null),
      limits.map((limit) => this.#checks.firstCheckAt(now, limit)),
      request.max,
      request.startNow,
      now,
      addMs(now, this.#checks.startWithinMs()),
    ];
    return {
      input,
      now,
      since: this.#bounds.version,
      bounded: after.some((place) => place !== undefined),
      statements: [
        { statement: oneAtATime, values: [`${request.workerId}:${request.claimId}`] },
        { statement: this.#statementFor(queueIds), values },
      ],
    };
  }

  #answer({ input, now, since, bounded }: Built, rows: Rows): ClaimAnswer {
    this.#unanswered.delete(input);
    const { request, queueIds } = input;
    if (rows[0]?.[0] === null) {
      this.learn(rows.filter((row) => row[6] !== null).map((row) => ({ id: row[2] as number, onHost: false })));
      return { runs: [], again: true };
    }
    // Fewer than were asked for: what there is may stand before the bounds.
    if (bounded && rows.length < request.max) this.#bounds.drop();
    if (rows.length === 0) return { runs: [], again: bounded };
    const ordered = inOrder(rows);
    const last = new Map<number, QueuePlace>();
    for (const row of ordered) last.set(row[2] as number, { priority: row[8] as number, jobId: asJobId(row[1] as number) });
    for (const [queueId, place] of last) this.#bounds.took(queueId, { place, since, now });
    const names = new Map(queueIds.map((id, index) => [id, request.queues[index]?.name]));
    return { runs: ordered.map((row) => claimedRun(row, names.get(row[2] as number) as string, firstOwnerEpoch)), again: false };
  }
}

/** What a claim that took nothing finds when it is looked at again. */
export interface EmptyClaim {
  readonly before: readonly ClaimedRun[];
  readonly special: readonly SpecialQueue[];
}

export interface SpecialQueue {
  readonly id: number;
  /** It has jobs that the session's host alone may claim. */
  readonly onHost: boolean;
}

export function lookAtEmpty({ request, queueIds }: ClaimInput): Verb<EmptyClaim> {
  return {
    statements: [
      { statement: runsOfClaim, values: [request.workerId, request.claimSeq] },
      { statement: specialQueues, values: [queueIds, request.workerId] },
    ],
    answer: ([runs = [], queues = []]) => ({
      before: inOrder(runs).map((row) => claimedRun(row, row[2] as string, row[9] as OwnerEpoch)),
      special: queues.map(([id, onHost]) => ({ id: id as number, onHost: onHost as boolean })),
    }),
  };
}

/** As they are to be worked on. */
function inOrder(rows: Rows): Rows {
  return [...rows].sort((a, b) => (a[8] as number) - (b[8] as number) || (a[1] as number) - (b[1] as number));
}

function claimedRun(row: readonly unknown[], queue: string, ownerEpoch: OwnerEpoch): ClaimedRun {
  return {
    runId: asRunId(row[0] as number),
    ownerEpoch,
    jobId: asJobId(row[1] as number),
    queue,
    attempt: row[3] as number,
    started: row[4] as boolean,
    payload: row[5] as string | null,
    itemId: row[6] as ItemId | null,
    visitId: row[7] as VisitId | null,
  };
}
