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

/** What must hold in every committed state, whatever crashed. Read as one snapshot, rule by rule. */
const rules: readonly Rule[] = [
  {
    rule: "a running job's current run is a live run of that job",
    query: sql`select 'job ' || jobs.id as subject, 'current run ' || jobs.current_run_id || ' is ' || coalesce(runs.state, 'missing') as found
      from jobs left join runs on runs.id = jobs.current_run_id and runs.job_id = jobs.id
      where jobs.current_run_id is not null and (runs.id is null or runs.ended_at is not null)`,
  },
  {
    rule: "a live run is the current run of a running job, under the same owner epoch",
    query: sql`select 'run ' || runs.id as subject,
        'job ' || runs.job_id || ' is ' || coalesce(jobs.state, 'missing') || ' with current run ' || coalesce(cast(jobs.current_run_id as text), 'none') as found
      from runs left join jobs on jobs.id = runs.job_id
      where runs.ended_at is null
        and (jobs.id is null or jobs.current_run_id is null or jobs.current_run_id <> runs.id or jobs.current_epoch <> runs.owner_epoch)`,
  },
  {
    rule: "a live run has an instant at which it is judged",
    query: sql`select 'run ' || id as subject, 'check_at is null' as found from runs where ended_at is null and check_at is null`,
  },
  {
    rule: "a job is in a queue that exists",
    query: sql`select 'job ' || jobs.id as subject, 'queue ' || jobs.queue_id || ' is missing' as found
      from jobs left join queues on queues.id = jobs.queue_id where queues.id is null`,
  },
  {
    rule: "a job has as many runs as it counts",
    query: sql`select 'job ' || jobs.id as subject, 'counts ' || jobs.run_count || ', has ' || count(runs.id) as found
      from jobs left join runs on runs.job_id = jobs.id group by jobs.id, jobs.run_count having count(runs.id) <> jobs.run_count`,
  },
  {
    rule: "a block names a run that has ended",
    query: sql`select 'job ' || jobs.id as subject, 'blocked by run ' || jobs.blocked_by || ', which is ' || coalesce(runs.state, 'missing') as found
      from jobs left join runs on runs.id = jobs.blocked_by
      where jobs.blocked_by is not null and (runs.id is null or runs.ended_at is null)`,
  },
  {
    rule: "a slot counts the runs that hold it",
    query: sql`select 'slot ' || slots.key as subject, 'counts ' || slots.used || ', held by ' || count(runs.id) as found
      from slots left join runs on runs.slot_key = slots.key group by slots.key, slots.used having count(runs.id) <> slots.used`,
  },
  {
    rule: "only a live run, or one that is still being stopped, holds a slot",
    query: sql`select 'run ' || runs.id as subject, 'ended, and holds slot ' || runs.slot_key as found
      from runs where runs.slot_key is not null and runs.ended_at is not null
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
        'spent ' || jobs.attempts || '+' || jobs.losses || ' of ' || jobs.max_attempts || '+' || coalesce(cast(jobs.max_losses as text), 'none')
          || ', its visit ' || visits.attempts || '+' || visits.losses || ' of ' || visits.max_attempts
          || '+' || coalesce(cast(visits.max_losses as text), 'none') as found
      from jobs join visits on visits.id = jobs.visit_id
      where jobs.visit_id is not null and jobs.finished_at is null
        and (jobs.attempts <> visits.attempts or jobs.losses <> visits.losses or jobs.max_attempts <> visits.max_attempts
          or coalesce(jobs.max_losses, -1) <> coalesce(visits.max_losses, -1))`,
  },
  {
    // A job of a visit goes on with what the visit's earlier ones have spent.
    rule: "an unfinished plain job counts the attempts that its runs have spent",
    query: sql`select 'job ' || jobs.id as subject,
        'counts ' || jobs.attempts || ', has ' || sum(case when runs.state in ('started', 'exited') or runs.spent = 'attempt' then 1 else 0 end) as found
      from jobs left join runs on runs.job_id = jobs.id
      where jobs.finished_at is null and jobs.visit_id is null
      group by jobs.id, jobs.attempts
      having jobs.attempts <> sum(case when runs.state in ('started', 'exited') or runs.spent = 'attempt' then 1 else 0 end)`,
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
