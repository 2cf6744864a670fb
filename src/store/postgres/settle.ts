import type { RunId } from "../../domain/ids.ts";
import type { Instant } from "../../domain/time.ts";
import type { SettleAnswer, Settlement, Success } from "../port/runs.ts";
import { keptColumnsOf } from "../runs/run-columns.ts";
import { isPlainSuccess } from "../runs/settle-plan.ts";
import type { LaneBatch, LanePhase } from "./lanes.ts";
import type { BoundStatement, Statement } from "./turn-connection.ts";

/**
 * Ends plain successes under their first supervisor; what does not match stays, and is settled singly. Jobs are given in order, so
 * `width_bucket` finds the place of each in the lists (docs/architecture.md, "Hot statements").
 */
const settlePlain = (output: string): string => `
    with gone as (
      delete from live
      where job_id = any($1::bigint[]) and id = ($2::bigint[])[width_bucket(job_id, $1::bigint[])]
        and owner_epoch = 1 and item_id is null and slot_key is null and coalesce(exit_code, 0) = 0
      returning ${keptColumnsOf()}, exit_code, coalesce(started_at, nullif(($3::bigint[])[width_bucket(job_id, $1::bigint[])], -1)) as started_at
    ), history as (
      insert into runs (${keptColumnsOf()}, exit_code, started_at, state, ended_at, outcome, reason, spent)
      select ${keptColumnsOf()}, exit_code, started_at, 'ended', $4::bigint, 'succeeded', $5::text, 'attempt' from gone
    ), done as (
      update jobs set state = 'done', finished_at = $4::bigint, attempts = attempts + 1, run_count = run_count + 1${output}
      where id = any(array(select job_id from gone))
    )
    select id from gone`;

/** What no index names, so that the row's new version stays on its page: nothing may be added here that one does. */
const settle: Statement = { name: "settle", text: settlePlain("") };
const settleWithOutputs: Statement = {
  name: "settle_outputs",
  text: settlePlain(", output = coalesce(($6::text[])[width_bucket(id, $1::bigint[])], output)"),
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
    return {
      statements: [...byReason].map(([reason, settlements]) => bound(reason, settlements, now)),
      answers: (rows) => {
        const settled = new Set<RunId>(rows.flatMap((of) => of.map((row) => row[0] as RunId)));
        // Deleted as it is answered: of two settlements of one run in a turn, the second one asks again.
        return inputs.map((input) =>
          input.map((settlement) => (isPlainSuccess(settlement) && settled.delete(settlement.runId) ? ok : singly)),
        );
      },
    };
  }
}

function bound(reason: string, settlements: readonly Success[], now: Instant): BoundStatement {
  const ordered = settlements.toSorted((a, b) => a.jobId - b.jobId);
  const values = [
    ordered.map(({ jobId }) => jobId),
    ordered.map(({ runId }) => runId),
    // -1 for none: an element behind a null is found by counting.
    ordered.map(({ startedAt }) => startedAt ?? -1),
    now,
    reason,
  ];
  if (ordered.every(({ output }) => output === undefined)) return { statement: settle, values };
  return { statement: settleWithOutputs, values: [...values, ordered.map(({ output }) => output ?? null)] };
}
