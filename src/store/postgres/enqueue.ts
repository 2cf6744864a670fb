import { defaultMaxAttempts } from "../../domain/budget.ts";
import { asJobId, type JobId } from "../../domain/ids.ts";
import type { Instant } from "../../domain/time.ts";
import { hasEnqueueIds, haveOneForm } from "../jobs/enqueue-groups.ts";
import type { EnqueueGroup } from "../port/jobs.ts";
import type { LaneBatch, LanePhase } from "./lanes.ts";
import type { BoundStatement, Rows, Statement } from "./turn-connection.ts";

const columns = "queue_id, priority, created_at, max_attempts, max_losses, agent, repo, state, run_at, scheduled_at";
const common = "$1::bigint, $2::integer, $3::bigint, $4::integer, $5::integer, $6::text, $7::text";
const now = `${common}, 'queued', $3::bigint, null::bigint`;
const later = `${common}, 'scheduled', $9::bigint, $9::bigint`;

/** A job that may be claimed now is in `ready` too. */
const opened = (made: string): string => `
    with made as (${made}), opened as (
      insert into ready (queue_id, priority, job_id) select $1::bigint, $2::integer, id from made
    )
    select id from made`;

/** One array of payloads as JSON is a fifth faster than an array parameter per column. */
const payloads = (values: string): string => `insert into jobs (${columns}, payload)
    select ${values}, e.value from json_array_elements_text($8::json) with ordinality as e (value, place) order by e.place returning id`;
const insertPayloads: Statement = { name: "enqueue", text: opened(payloads(now)) };
const insertPayloadsLater: Statement = { name: "enqueue_later", text: payloads(later) };

/** In the order of the ids, so that two callers with the same ones wait for each other in one direction only. */
const withIds = (values: string): string => `insert into jobs (${columns}, enqueue_id, payload)
    select ${values}, e.id, e.payload from json_to_recordset($8::json) as e (id text, payload text) order by e.id
    on conflict (enqueue_id) where enqueue_id is not null do nothing returning id`;
const insertWithIds: Statement = { name: "enqueue_ids", text: opened(withIds(now)) };
const insertWithIdsLater: Statement = { name: "enqueue_ids_later", text: withIds(later) };
/** A statement of its own: it sees the rows of others that the insert waited for. */
const readIds: Statement = {
  name: "enqueued_ids",
  text: "select id, enqueue_id from jobs where enqueue_id = any($1::text[])",
};

export interface EnqueueInput {
  readonly group: EnqueueGroup;
  readonly queueId: number;
}

export class EnqueuePhase implements LanePhase<EnqueueInput, readonly JobId[]> {
  readonly #now: () => Instant;

  constructor(now: () => Instant) {
    this.#now = now;
  }

  weigh({ group }: EnqueueInput): number {
    return group.jobs.length;
  }

  batch(inputs: readonly EnqueueInput[]): LaneBatch<readonly JobId[]> {
    const now = this.#now();
    const statements: BoundStatement[] = [];
    const readers: ((rows: readonly Rows[]) => readonly (readonly JobId[])[])[] = [];
    for (let from = 0; from < inputs.length; ) {
      const first = inputs[from] as EnqueueInput;
      let to = from + 1;
      while (to < inputs.length && haveOneForm(first.group, (inputs[to] as EnqueueInput).group)) to += 1;
      const groups = inputs.slice(from, to).map(({ group }) => group);
      const form = formOf(first, now);
      const at = statements.length;
      if (groups.some(hasEnqueueIds)) {
        for (const group of groups) readers.push(bindWithIds(group, form, statements));
      } else {
        const payloads = groups.flatMap((group) => group.jobs.map((job) => job.payload ?? null));
        statements.push(form.plain(payloads));
        readers.push((rows) => dealOut(groups, rows[at] ?? []));
      }
      from = to;
    }
    const delayed = inputs.some(({ group }) => (group.delayMs ?? 0) > 0);
    return {
      statements,
      hints: delayed ? ["jobs", "scheduled"] : ["jobs"],
      answers: (rows) => readers.flatMap((read) => read(rows)),
    };
  }
}

/** How the jobs of groups that have one form are inserted. */
interface Form {
  readonly plain: (payloads: readonly (string | null)[]) => BoundStatement;
  readonly withIds: (jobs: readonly { readonly id: string; readonly payload: string | null }[]) => BoundStatement;
}

function formOf({ group, queueId }: EnqueueInput, now: Instant): Form {
  const { delayMs = 0, priority = 0, maxAttempts = defaultMaxAttempts, maxLosses = null, agent = null, repo = null } = group;
  const common = [queueId, priority, now, maxAttempts, maxLosses, agent, repo];
  const runAt = delayMs > 0 ? [now + delayMs] : [];
  const bound = (statement: Statement, jobs: unknown): BoundStatement => ({
    statement,
    values: [...common, JSON.stringify(jobs), ...runAt],
  });
  return {
    plain: (payloads) => bound(delayMs > 0 ? insertPayloadsLater : insertPayloads, payloads),
    withIds: (jobs) => bound(delayMs > 0 ? insertWithIdsLater : insertWithIds, jobs),
  };
}

function dealOut(groups: readonly EnqueueGroup[], rows: Rows): readonly (readonly JobId[])[] {
  let next = 0;
  return groups.map((group) => group.jobs.map(() => asJobId(rows[next++]?.[0] as number)));
}

/** A group in which some or all jobs carry ids of their caller's: these are inserted apart from the rest, and matched again by id. */
function bindWithIds(
  group: EnqueueGroup,
  form: Form,
  statements: BoundStatement[],
): (rows: readonly Rows[]) => readonly (readonly JobId[])[] {
  const named = new Map(group.jobs.flatMap((job) => (job.enqueueId === undefined ? [] : [[job.enqueueId, job.payload ?? null] as const])));
  const unnamed = group.jobs.filter((job) => job.enqueueId === undefined);
  const at = statements.length;
  statements.push(form.withIds([...named].map(([id, payload]) => ({ id, payload }))));
  statements.push({ statement: readIds, values: [[...named.keys()]] });
  statements.push(form.plain(unnamed.map((job) => job.payload ?? null)));
  return (rows) => {
    const ids = new Map((rows[at + 1] ?? []).map((row) => [row[1] as string, asJobId(row[0] as number)]));
    let next = 0;
    const plain = rows[at + 2] ?? [];
    return [
      group.jobs.map((job) => (job.enqueueId === undefined ? asJobId(plain[next++]?.[0] as number) : (ids.get(job.enqueueId) as JobId))),
    ];
  };
}
