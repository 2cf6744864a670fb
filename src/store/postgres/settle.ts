import type { JobId } from "../../domain/ids.ts";
import type { Instant } from "../../domain/time.ts";
import type { SettleAnswer, Settlement, Success } from "../port/runs.ts";
import { isPlainSuccess } from "../runs/settle-plan.ts";
import type { LaneBatch, LanePhase } from "./lanes.ts";
import type { BoundStatement, Statement } from "./turn-connection.ts";

/**
 * Ends plain successes under their first supervisor; other rows stay, and are settled singly. Its odd conditions keep it off partial
 * indexes, and count no run twice that starts meanwhile (docs/architecture.md, "Hot statements").
 */
const settlePlain: Statement = {
  name: "settle",
  text: `
    with done as (
      update jobs set state = 'done', finished_at = $3, current_run_id = null, current_epoch = null,
        attempts = attempts + (select (r.state = 'reserved')::integer from runs r where r.id = jobs.current_run_id),
        output = case when $6::text[] is null then output else coalesce(($6::text[])[array_position($1::bigint[], id)], output) end
      where id = any($1::bigint[]) and current_run_id = any($2::bigint[]) and current_epoch = 1 and item_id is null
        and (select r.slot_key is null and coalesce(r.exit_code, 0) = 0 from runs r where r.id = jobs.current_run_id)
        and attempts = (select seen.attempts from jobs seen where seen.id = jobs.id)
      returning id
    ), closed as (
      update runs set state = 'ended', ended_at = $3, outcome = 'succeeded', reason = $4, spent = 'attempt',
        started_at = coalesce(started_at, ($5::bigint[])[array_position($2::bigint[], id)])
      where id = any($2::bigint[]) and job_id = any(array(select id from done)) and state in ('reserved', 'started', 'exited')
    )
    select id from done`,
};

export type PhaseAnswer = SettleAnswer | { readonly kind: "singly" };

const ok: PhaseAnswer = { kind: "ok", outcome: "succeeded", jobState: "done" };
const singly: PhaseAnswer = { kind: "singly" };

/** Plain successes by the batch; what does not fit is answered `singly`, unwritten. */
export class SettlePhase implements LanePhase<readonly Settlement[], readonly PhaseAnswer[]> {
  readonly #now: () => Instant;

  constructor(now: () => Instant) {
    this.#now = now;
  }

  weigh(settlements: readonly Settlement[]): number {
    return settlements.length;
  }

  batch(inputs: readonly (readonly Settlement[])[]): LaneBatch<readonly PhaseAnswer[]> {
    const now = this.#now();
    const byReason = new Map<string, Success[]>();
    for (const input of inputs) {
      for (const settlement of input) {
        if (!isPlainSuccess(settlement)) continue;
        const known = byReason.get(settlement.reason);
        if (known === undefined) byReason.set(settlement.reason, [settlement]);
        else known.push(settlement);
      }
    }
    const statements: BoundStatement[] = [...byReason].map(([reason, settlements]) => ({
      statement: settlePlain,
      values: valuesOf(reason, settlements, now),
    }));
    return {
      statements,
      answers: (rows) => {
        const settled = new Set<JobId>(rows.flatMap((of) => of.map((row) => row[0] as JobId)));
        // Deleted as it is answered: of two settlements of one job in a turn, the second one asks again.
        return inputs.map((input) =>
          input.map((settlement) => (isPlainSuccess(settlement) && settled.delete(settlement.jobId) ? ok : singly)),
        );
      },
    };
  }
}

function valuesOf(reason: string, settlements: readonly Success[], now: Instant): readonly unknown[] {
  const outputs = settlements.map(({ output }) => output ?? null);
  return [
    settlements.map(({ jobId }) => jobId),
    settlements.map(({ runId }) => runId),
    now,
    reason,
    settlements.map(({ startedAt }) => startedAt ?? null),
    outputs.every((output) => output === null) ? null : outputs,
  ];
}
