import { asJobId, asRunId, firstOwnerEpoch, type ItemId, type OwnerEpoch, type VisitId } from "../../domain/ids.ts";
import { addMs, type Instant } from "../../domain/time.ts";
import type { FirstChecks } from "../jobs/claim-rules.ts";
import type { ClaimedRun, ClaimRequest } from "../port/runs.ts";
import type { BoundsVersion, ClaimBounds, QueuePlace } from "./claim-bounds.ts";
import type { BoundStatement, LaneBatch, LanePhase, Rows, Statement } from "./lanes.ts";

/** A claim that is repeated while its first call is under way waits here for that call's commit; no other claim does. */
const oneAtATime: Statement = { name: "claim_lock", text: "select pg_advisory_xact_lock(hashtextextended($1, 7))" };

/** The queues that are asked for, as they are now. None: the session is not live, or this claim was answered before. */
const named = `
    named as materialized (
      select q.id, q.kind, q.slot_key, n.place, n.after_priority, n.after_job,
        n.timeout_ms, n.heartbeat_timeout_ms, n.max_running_ms, n.started_check_at
      from unnest($3::bigint[], $4::integer[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[]) with ordinality
        as n (id, after_priority, after_job, timeout_ms, heartbeat_timeout_ms, max_running_ms, started_check_at, place)
      cross join lateral (select id, kind, slot_key from queues where id = n.id and paused is false offset 0) q
      where exists (select 1 from workers where id = $1 and state = 'live')
        and not exists (select 1 from live where worker_id = $1 and claim_seq = $2)
    )`;

/** The first of each queue that nobody else is taking. */
const candidates = (where: string): string => `
    candidates as materialized (
      select c.row, c.priority, c.job_id, n.id as queue_id, n.kind, n.slot_key
      from named n cross join lateral (
        select ctid as row, priority, job_id from ready
        where queue_id = n.id and (priority, job_id) > (n.after_priority, n.after_job)
        order by priority, job_id limit $10 for update skip locked) c
      where ${where}
    )`;

/** With their jobs. A job is reached by its key alone, whatever the planner believes: \`offset 0\` keeps it from turning the join round. */
const chosen = (from: string): string => `
    chosen as materialized (
      select b.row, b.priority, b.job_id, b.queue_id, b.slot_key, j.run_count + 1 as attempt, j.item_id, j.visit_id, j.payload,
        b.kind = 'handler' and count(*) filter (where b.kind = 'handler') over (order by b.priority, b.job_id rows unbounded preceding) <= $11 as started
      from (select * from ${from} order by priority, job_id limit $10) b
      cross join lateral (select run_count, item_id, visit_id, payload from jobs where id = b.job_id offset 0) j
    )`;

/** Out of \`ready\` and into \`live\`. Nothing is written on the job. */
const moved = `
    taken as (
      delete from ready where ctid = any(array(select row from work))
    ), made as (
      insert into live (job_id, id, attempt, state, worker_id, kind, claim_seq, reserved_at, started_at, check_at,
        timeout_ms, heartbeat_timeout_ms, max_running_ms, slot_key, item_id)
      select w.job_id, w.run_id, w.attempt, case when w.started then 'started' else 'reserved' end, $1, n.kind, $2, $12::bigint,
        case when w.started then $12::bigint end, case when w.started then n.started_check_at else $13::bigint end,
        n.timeout_ms, n.heartbeat_timeout_ms, n.max_running_ms, n.slot_key, w.item_id
      from work w join named n on n.id = w.queue_id
    )`;

const answer = `
    select w.run_id, w.job_id, w.queue_id, w.attempt, w.started, w.payload, w.item_id, w.visit_id, w.priority from work w`;

/**
 * For plain queues: knows nothing of slots, visits and state files. It takes nothing where one of the queues has a slot, or one of the jobs an
 * item, and names such queues in a row of its own. It looks in the snapshot in which it takes, so what it was sent for cannot mislead it.
 */
const claimPlain: Statement = {
  name: "claim_plain",
  text: `
    with ${named}, ${candidates("not exists (select 1 from named where slot_key is not null)")}, ${chosen("candidates")},
    special as materialized (
      select distinct queue_id from chosen where item_id is not null union all select id from named where slot_key is not null
    ), work as materialized (
      select nextval('run_ids') as run_id, c.* from chosen c where not exists (select 1 from special)
    ), ${moved}
    ${answer}
    union all select null, null, queue_id, null, null, null, null, null, null from special`,
};

/** For all queues. Slots are locked before any job is, so that no claim that waits for one holds another's job. */
const claimAny: Statement = {
  name: "claim",
  text: `
    with ${named}, rooms as materialized (
      select key, greatest(capacity - used, 0) as room from slots
      where key = any(array(select slot_key from named where slot_key is not null)) order by key for update
    ), ${candidates("(select count(*) from rooms) >= 0")}, roomy as materialized (
      select c.* from candidates c where c.slot_key is null
      union all
      select s.row, s.priority, s.job_id, s.queue_id, s.kind, s.slot_key from (
        select c.*, row_number() over (partition by c.slot_key order by c.priority, c.job_id) as place
        from candidates c where c.slot_key is not null) s
      where s.place <= (select room from rooms where key = s.slot_key)
    ), ${chosen("roomy")}, work as materialized (
      select nextval('run_ids') as run_id, c.* from chosen c
    ), ${moved}, counted as (
      update visits set attempts = attempts + 1 where id = any(array(select visit_id from work where started and visit_id is not null))
    ), filled as (
      update slots set used = used + cardinality(array_positions(array(select slot_key from work where slot_key is not null), key))
      where key = any(array(select slot_key from work where slot_key is not null))
    ), noted as (
      insert into outbox (kind, key, payload, due_at, created_at)
      select 'state-file', w.item_id::text, json_build_object('itemId', w.item_id)::text, $12::bigint, $12::bigint from work w where w.item_id is not null
      order by w.item_id
      on conflict (kind, key) do update set payload = excluded.payload, revision = outbox.revision + 1,
        attempts = case when outbox.due_at is null then 0 else outbox.attempts end, due_at = coalesce(outbox.due_at, excluded.due_at)
    )
    ${answer}`,
};

/** A claim that was answered before: its runs, as long as they live and are the session's. */
export const runsOfClaim: Statement = {
  name: "claimed",
  text: `
    select l.id, l.job_id, q.name, l.attempt, l.started_at is not null, j.payload, j.item_id, j.visit_id, j.priority, l.owner_epoch
    from live l join jobs j on j.id = l.job_id join queues q on q.id = j.queue_id
    where l.worker_id = $1 and l.claim_seq = $2`,
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
  /** Nothing was taken by this claim, and the same one asked once more may take something. */
  readonly again: boolean;
}

interface Built {
  readonly input: ClaimInput;
  readonly since: BoundsVersion;
  readonly bounded: boolean;
}

/** Takes jobs. */
export class ClaimPhase implements LanePhase<ClaimInput, ClaimAnswer> {
  readonly #now: () => Instant;
  readonly #checks: FirstChecks;
  readonly #bounds: ClaimBounds;
  /** Queues that were seen with a slot or with jobs of items: the plain statement is not tried on them again. */
  readonly #special = new Set<number>();
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
    const now = this.#now();
    // Undone with its turn: what it had locked was passed over by the claims beside it.
    if (inputs.some((input) => this.#unanswered.has(input))) this.#bounds.drop();
    const built = inputs.map((input) => this.#build(input, now));
    return {
      statements: built.flatMap(({ statements }) => statements),
      answers: (rows) => built.map((one, index) => this.#answer(one, rows[index * 2 + 1] ?? [], now)),
    };
  }

  #build(input: ClaimInput, now: Instant): Built & { readonly statements: readonly BoundStatement[] } {
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
      since: this.#bounds.version,
      bounded: after.some((place) => place !== undefined),
      statements: [
        { statement: oneAtATime, values: [`${request.workerId}:${request.claimId}`] },
        { statement: queueIds.some((id) => this.#special.has(id)) ? claimAny : claimPlain, values },
      ],
    };
  }

  #answer({ input, since, bounded }: Built, rows: Rows, now: Instant): ClaimAnswer {
    this.#unanswered.delete(input);
    const { request, queueIds } = input;
    if (rows.length > 0 && rows[0]?.[0] === null) {
      for (const row of rows) this.#special.add(row[2] as number);
      return { runs: [], again: true };
    }
    // Fewer than were asked for: what there is may stand before the bounds.
    if (bounded && rows.length < request.max) this.#bounds.drop();
    if (rows.length === 0) return { runs: [], again: bounded };
    const ordered = inOrder(rows);
    const last = new Map<number, QueuePlace>();
    for (const row of ordered) last.set(row[2] as number, { priority: row[8] as number, jobId: asJobId(row[1] as number) });
    for (const [queueId, place] of last) this.#bounds.took(queueId, { place, since, now });
    const names = new Map(queueIds.map((id, index) => [id, request.queues[index]?.name ?? ""]));
    return { runs: ordered.map((row) => claimedRun(row, names.get(row[2] as number) as string, firstOwnerEpoch)), again: false };
  }
}

/** The runs of a claim that was answered before. */
export function claimedRuns(rows: Rows): readonly ClaimedRun[] {
  return inOrder(rows).map((row) =>
    claimedRun(row, row[2] as string, row[9] === firstOwnerEpoch ? firstOwnerEpoch : (row[9] as OwnerEpoch)),
  );
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
