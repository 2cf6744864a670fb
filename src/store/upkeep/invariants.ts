import { type Kysely, type RawBuilder, sql } from "kysely";
import type { Database } from "../engine/tables.ts";
import type { InvariantBreach } from "../port/upkeep.ts";

interface Rule {
  readonly rule: string;
  /** Answers the breaches as `subject` and `found`, both texts. */
  readonly query: RawBuilder<{ subject: string; found: string }>;
}

/** Most breaches reported of one rule: a broken store has thousands, and one is enough to know. */
const toldMax = 20;

/** 1 for a job whose live run has started: it counts beside what the job's ended runs have spent. */
const begun = sql`case when coalesce(live.state, 'reserved') = 'reserved' then 0 else 1 end`;

/** What any worker may claim, and what those of one host may. */
const claimable = sql`(select queue_id, priority, job_id, cast(null as text) as host_id from ready
  union all select queue_id, priority, job_id, host_id from ready_on_host)`;

/** What must hold in every committed state, whatever crashed. Read as one snapshot, rule by rule. */
const rules: readonly Rule[] = [
  {
    rule: "a live run is one of a job that is stored as queued and waits for no proof",
    query: sql`select 'run ' || live.id as subject,
        'job ' || live.job_id || ' is ' || coalesce(jobs.state, 'missing') || coalesce(' and blocked by run ' || jobs.blocked_by, '') as found
      from live left join jobs on jobs.id = live.job_id where jobs.id is null or jobs.state <> 'queued' or jobs.blocked_by is not null`,
  },
  {
    rule: "a live run belongs to the item of its job",
    query: sql`select 'run ' || live.id as subject,
        'of item ' || coalesce(cast(live.item_id as text), 'none') || ', its job of ' || coalesce(cast(jobs.item_id as text), 'none') as found
      from live join jobs on jobs.id = live.job_id where coalesce(live.item_id, -1) <> coalesce(jobs.item_id, -1)`,
  },
  {
    rule: "a live run is numbered after the ended runs of its job",
    query: sql`select 'run ' || live.id as subject, 'attempt ' || live.attempt || ' of job ' || jobs.id || ', which counts ' || jobs.run_count as found
      from live join jobs on jobs.id = live.job_id where live.attempt <> jobs.run_count + 1`,
  },
  {
    rule: "a run is either live or ended",
    query: sql`select 'run ' || runs.id as subject, runs.state || case when live.id is null then '' else ' and live' end as found
      from runs left join live on live.id = runs.id where live.id is not null or runs.state <> 'ended' or runs.ended_at is null`,
  },
  {
    rule: "what stands in ready may be claimed",
    query: sql`select 'job ' || ready.job_id as subject,
        'ready in queue ' || ready.queue_id || ' at priority ' || ready.priority || coalesce(' on ' || ready.host_id, '') || '; it is ' || coalesce(jobs.state, 'missing')
          || case when live.id is not null then ', running' else '' end || case when jobs.blocked_by is not null then ', blocked' else '' end
          || case when jobs.paused is true then ', paused' else '' end as found
      from ${claimable} ready left join jobs on jobs.id = ready.job_id left join live on live.job_id = ready.job_id
      where jobs.id is null or live.id is not null or jobs.state <> 'queued' or jobs.blocked_by is not null or jobs.paused is true
        or jobs.queue_id <> ready.queue_id or jobs.priority <> ready.priority or coalesce(jobs.host_id, '') <> coalesce(ready.host_id, '')`,
  },
  {
    rule: "what may be claimed stands in ready",
    query: sql`select 'job ' || jobs.id as subject, 'claimable, and not in ready' as found from jobs
      where jobs.state = 'queued' and jobs.blocked_by is null and jobs.paused is false
        and not exists (select 1 from live where live.job_id = jobs.id)
        and not exists (select 1 from ready where ready.queue_id = jobs.queue_id and ready.priority = jobs.priority and ready.job_id = jobs.id)
        and not exists (select 1 from ready_on_host h where h.host_id = jobs.host_id and h.queue_id = jobs.queue_id
          and h.priority = jobs.priority and h.job_id = jobs.id)`,
  },
  {
    rule: "an unfinished job is pinned to the host of its item",
    query: sql`select 'job ' || jobs.id as subject,
        'on ' || coalesce(jobs.host_id, 'any host') || ', its item on ' || coalesce(items.host_id, 'any host') as found
      from jobs join items on items.id = jobs.item_id
      where jobs.finished_at is null and coalesce(jobs.host_id, '') <> coalesce(items.host_id, '')`,
  },
  {
    rule: "the columns that follow a job's state are true to it",
    query: sql`select 'job ' || jobs.id as subject,
        jobs.state || ', scheduled for ' || coalesce(cast(jobs.scheduled_at as text), 'never') || ' and due at ' || jobs.run_at
          || ', noted as ' || coalesce(jobs.note, 'nothing') || ', open in visit ' || coalesce(cast(jobs.open_visit_id as text), 'none') as found
      from jobs
      where coalesce(jobs.scheduled_at, -1) <> case when jobs.state = 'scheduled' then jobs.run_at else -1 end
        or coalesce(jobs.note, '') <> case when jobs.state in ('held', 'failed', 'cancelled') then jobs.state else '' end
        or coalesce(jobs.open_visit_id, -1) <> case when jobs.finished_at is null then coalesce(jobs.visit_id, -1) else -1 end`,
  },
  {
    rule: "a job is in a queue that exists",
    query: sql`select 'job ' || jobs.id as subject, 'queue ' || jobs.queue_id || ' is missing' as found
      from jobs left join queues on queues.id = jobs.queue_id where queues.id is null`,
  },
  {
    rule: "a job has as many ended runs as it counts",
    query: sql`select 'job ' || jobs.id as subject, 'counts ' || jobs.run_count || ', has ' || count(runs.id) as found
      from jobs left join runs on runs.job_id = jobs.id group by jobs.id, jobs.run_count having count(runs.id) <> jobs.run_count`,
  },
  {
    rule: "a block names a run that has ended",
    query: sql`select 'job ' || jobs.id as subject, 'blocked by run ' || jobs.blocked_by || ', which has not' as found
      from jobs left join runs on runs.id = jobs.blocked_by where jobs.blocked_by is not null and runs.id is null`,
  },
  {
    rule: "a slot counts the runs that hold it",
    query: sql`select 'slot ' || slots.key as subject, 'counts ' || slots.used || ', held by ' || count(holders.id) as found
      from slots left join (
        select id, slot_key from live where slot_key is not null union all select id, slot_key from runs where slot_key is not null
      ) holders on holders.slot_key = slots.key
      group by slots.key, slots.used having count(holders.id) <> slots.used`,
  },
  {
    rule: "only a live run, or one that is still being stopped, holds a slot",
    query: sql`select 'run ' || runs.id as subject, 'ended, and holds slot ' || runs.slot_key as found
      from runs where runs.slot_key is not null
        and not exists (select 1 from jobs where jobs.blocked_by is not null and jobs.blocked_by = runs.id)`,
  },
  {
    rule: "a visit has at most one unfinished job",
    query: sql`select 'visit ' || visit_id as subject, count(*) || ' unfinished jobs' as found
      from jobs where visit_id is not null and finished_at is null group by visit_id having count(*) > 1`,
  },
  {
    rule: "an unfinished item is in an open visit of its stage, a finished one in none",
    query: sql`select 'item ' || items.id as subject,
        items.state || ' in ' || items.stage || ', its visit is ' || coalesce(visits.state || ' of ' || visits.stage, 'missing') as found
      from items left join visits on visits.id = items.visit_id and visits.item_id = items.id
      where visits.id is null or visits.stage <> items.stage or (items.finished_at is null and visits.state <> 'open')
        or (items.finished_at is not null and visits.state = 'open')`,
  },
  {
    rule: "an open visit is the one its item is in",
    query: sql`select 'visit ' || visits.id as subject, 'open, and item ' || visits.item_id || ' is elsewhere' as found
      from visits left join items on items.visit_id = visits.id where visits.state = 'open' and items.id is null`,
  },
  {
    rule: "an unfinished job of a visit belongs to an open visit",
    query: sql`select 'job ' || jobs.id as subject, jobs.state || ', its visit ' || jobs.visit_id || ' is ' || coalesce(visits.state, 'missing') as found
      from jobs left join visits on visits.id = jobs.visit_id
      where jobs.visit_id is not null and jobs.finished_at is null and (visits.id is null or visits.state <> 'open')`,
  },
  {
    rule: "an unfinished job and its visit have spent the same, and may spend the same",
    query: sql`select 'job ' || jobs.id as subject,
        'spent ' || (jobs.attempts + ${begun}) || '+' || jobs.losses || ' of ' || jobs.max_attempts
          || '+' || coalesce(cast(jobs.max_losses as text), 'none')
          || ', its visit ' || visits.attempts || '+' || visits.losses || ' of ' || visits.max_attempts
          || '+' || coalesce(cast(visits.max_losses as text), 'none') as found
      from jobs join visits on visits.id = jobs.visit_id left join live on live.job_id = jobs.id
      where jobs.visit_id is not null and jobs.finished_at is null
        and (jobs.attempts + ${begun} <> visits.attempts or jobs.losses <> visits.losses or jobs.max_attempts <> visits.max_attempts
          or coalesce(jobs.max_losses, -1) <> coalesce(visits.max_losses, -1))`,
  },
  {
    // A job of a visit goes on with what the visit's earlier ones have spent.
    rule: "an unfinished plain job counts the attempts that its ended runs have spent",
    query: sql`select 'job ' || jobs.id as subject,
        'counts ' || jobs.attempts || ', has ' || sum(case when runs.spent = 'attempt' then 1 else 0 end) as found
      from jobs left join runs on runs.job_id = jobs.id
      where jobs.finished_at is null and jobs.visit_id is null
      group by jobs.id, jobs.attempts having jobs.attempts <> sum(case when runs.spent = 'attempt' then 1 else 0 end)`,
  },
  {
    rule: "an item counts its visits",
    query: sql`select 'item ' || items.id as subject, 'counts ' || items.visit_count || ', has ' || count(visits.id) as found
      from items left join visits on visits.item_id = items.id group by items.id, items.visit_count having count(visits.id) <> items.visit_count`,
  },
  {
    rule: "nobody waits for a lease that does not exist",
    query: sql`select 'ticket ' || lease_waiters.ticket as subject, 'waits for ' || lease_waiters.name as found
      from lease_waiters left join leases on leases.name = lease_waiters.name where leases.name is null`,
  },
];

export async function checkInvariants(tx: Kysely<Database>): Promise<readonly InvariantBreach[]> {
  const breaches: InvariantBreach[] = [];
  for (const { rule, query } of rules) {
    const { rows } = await sql<{
      subject: string;
      found: string;
    }>`select subject, found from (${query}) as breaches limit ${sql.lit(toldMax)}`.execute(tx);
    breaches.push(...rows.map(({ subject, found }) => ({ rule, subject, found })));
  }
  return breaches;
}
