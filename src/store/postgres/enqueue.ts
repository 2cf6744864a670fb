import { defaultMaxAttempts } from "../../domain/budget.ts";
import { asJobId, type JobId } from "../../domain/ids.ts";
import type { Instant } from "../../domain/time.ts";
import { hasEnqueueIds, haveOneForm } from "../jobs/enqueue-groups.ts";
import type { EnqueueGroup } from "../port/jobs.ts";
import type { LaneBatch, LanePhase } from "./lanes.ts";
import type { BoundStatement, Rows, Statement } from "./turn-connection.ts";

const columns = "queue_id, state, priority, run_at, created_at, max_attempts, max_losses, agent, repo";
const common = "$1::bigint, $2::text, $3::integer, $4::bigint, $5::bigint, $6::integer, $7::integer, $8::text, $9::text";

/** One array of payloads as JSON is a fifth faster than an array parameter per column. */
const insertPayloads: Statement = {
  name: "enqueue",
  text: `insert into jobs (${columns}, payload)
    select ${common}, e.value from json_array_elements_text($10::json) with ordinality as e (value, place) order by e.place returning id`,
};

/** In the order of the ids, so that two callers with the same ones wait for each other in one direction only. */
const insertWithIds: Statement = {
  name: "enqueue_ids",
  text: `insert into jobs (${columns}, enqueue_id, payload)
    select ${common}, e.id, e.payload from json_to_recordset($10::json) as e (id text, payload text) order by e.id
    on conflict (enqueue_id) where enqueue_id is not null do nothing`,
};
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
      const values = commonValues(first, now);
      const at = statements.length;
      if (groups.some(hasEnqueueIds)) {
        for (const group of groups) readers.push(bindWithIds(group, values, statements));
      } else {
        const payloads = groups.flatMap((group) => group.jobs.map((job) => job.payload ?? null));
        statements.push({ statement: insertPayloads, values: [...values, JSON.stringify(payloads)] });
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

function commonValues({ group, queueId }: EnqueueInput, now: Instant): readonly unknown[] {
  const delayMs = group.delayMs ?? 0;
  return [
    queueId,
    delayMs > 0 ? "scheduled" : "queued",
    group.priority ?? 0,
    now + delayMs,
    now,
    group.maxAttempts ?? defaultMaxAttempts,
    group.maxLosses ?? null,
    group.agent ?? null,
    group.repo ?? null,
  ];
}

function dealOut(groups: readonly EnqueueGroup[], rows: Rows): readonly (readonly JobId[])[] {
  let next = 0;
  return groups.map((group) => group.jobs.map(() => asJobId(rows[next++]?.[0] as number)));
}

/** A group in which some or all jobs carry ids of their caller's: these are inserted apart from the rest, and matched again by id. */
function bindWithIds(
  group: EnqueueGroup,
  values: readonly unknown[],
  statements: BoundStatement[],
): (rows: readonly Rows[]) => readonly (readonly JobId[])[] {
  const named = new Map(group.jobs.flatMap((job) => (job.enqueueId === undefined ? [] : [[job.enqueueId, job.payload ?? null] as const])));
  const unnamed = group.jobs.filter((job) => job.enqueueId === undefined);
  const at = statements.length;
  statements.push({ statement: insertWithIds, values: [...values, JSON.stringify([...named].map(([id, payload]) => ({ id, payload })))] });
  statements.push({ statement: readIds, values: [[...named.keys()]] });
  statements.push({ statement: insertPayloads, values: [...values, JSON.stringify(unnamed.map((job) => job.payload ?? null))] });
  return (rows) => {
    const ids = new Map((rows[at + 1] ?? []).map((row) => [row[1] as string, asJobId(row[0] as number)]));
    let next = 0;
    const plain = rows[at + 2] ?? [];
    return [
      group.jobs.map((job) => (job.enqueueId === undefined ? asJobId(plain[next++]?.[0] as number) : (ids.get(job.enqueueId) as JobId))),
    ];
  };
}
