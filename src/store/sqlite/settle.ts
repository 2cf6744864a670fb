import type { RunId } from "../../domain/ids.ts";
import type { Instant } from "../../domain/time.ts";
import type { SettleAnswer, Settlement, Success } from "../port/runs.ts";
import type { StoreHint } from "../port/store.ts";
import { keptColumnsOf } from "../runs/run-columns.ts";
import { isPlainSuccess, lateResult, planApart, settledAs } from "../runs/settle-plan.ts";
import type { SqliteConnection } from "./connection.ts";
import type { GroupPhase } from "./group-commit.ts";
import type { SqliteRunEnds } from "./run-ends.ts";
import { SettlingRows } from "./settling-rows.ts";

/**
 * Writes the history of plain successes under their first supervisor: without item, slot or bad exit code, and with a start on record or
 * given. The table `settling` names job and run as a pair, which is the fence.
 */
const endRuns = `
  insert into runs (${keptColumnsOf()}, started_at, exit_code, state, ended_at, outcome, reason, spent)
  select ${keptColumnsOf("l")}, coalesce(l.started_at, s.started_at), l.exit_code, 'ended', ?, 'succeeded', ?, 'attempt'
  from settling s cross join live l on l.job_id = s.job_id
  where l.id = s.run_id and l.owner_epoch = 1 and l.item_id is null and l.slot_key is null and coalesce(l.exit_code, 0) = 0
    and (l.state <> 'reserved' or s.started_at is not null)`;
/** While a run is live it is in no history: what is there of it was written just now. A savepoint would cost every turn two statements. */
const takeBackRuns = `
  delete from runs where id in (select l.id from settling s cross join live l on l.job_id = s.job_id)`;
const endLive = "delete from live where job_id in (select job_id from settling)";
const endJobs = `
  update jobs set state = 'done', finished_at = ?, attempts = attempts + 1, run_count = run_count + 1
  where id in (select job_id from settling)`;

const writeOutputs = "update jobs set output = e.value from json_each(?) e where jobs.id = e.key";

/** `with_item`: to be settled in a transaction of its own, because its item moves with it. */
export type PhaseAnswer = SettleAnswer | { readonly kind: "with_item" };

const ok: SettleAnswer = { kind: "ok", outcome: "succeeded", jobState: "done" };
const okOnce: readonly SettleAnswer[] = [ok];
const withItem: PhaseAnswer = { kind: "with_item" };

/** Ends runs: plain successes by the batch, everything else one by one, items left to the caller. */
export class SettlePhase implements GroupPhase<readonly Settlement[], readonly PhaseAnswer[]> {
  readonly #connection: SqliteConnection;
  readonly #ends: SqliteRunEnds;
  readonly #now: () => Instant;
  readonly #rows: SettlingRows;
  /** Runs with a slot or an item, as far as this process knows: a batch with one of them would fall short and be done twice. */
  readonly special = new Set<RunId>();

  constructor(options: { readonly connection: SqliteConnection; readonly ends: SqliteRunEnds; readonly now: () => Instant }) {
    this.#connection = options.connection;
    this.#ends = options.ends;
    this.#now = options.now;
    this.#rows = new SettlingRows(options.connection);
  }

  weigh(settlements: readonly Settlement[]): number {
    return settlements.length;
  }

  apply(inputs: readonly (readonly Settlement[])[], hints: Set<StoreHint>): readonly (readonly PhaseAnswer[])[] {
    const now = this.#now();
    const plain: Success[] = [];
    let count = 0;
    for (const input of inputs) {
      count += input.length;
      for (const settlement of input) if (this.#isPlain(settlement)) plain.push(settlement);
    }
    const settled = this.#settlePlain(plain, now);
    // The usual turn: nothing but plain successes, each caller with one.
    if (settled.length === count) return inputs.map((input) => (input.length === 1 ? okOnce : input.map(() => ok)));
    const done = new Set<Settlement>(settled);
    return inputs.map((input) => input.map((settlement) => (done.has(settlement) ? ok : this.#settleOne(settlement, now, hints))));
  }

  #isPlain(settlement: Settlement): settlement is Success {
    return isPlainSuccess(settlement) && !this.special.has(settlement.runId);
  }

  /** Answers those that it has settled. Of a batch that falls short, for one that lost its run or is not plain after all, nothing is written. */
  #settlePlain(settlements: readonly Success[], now: Instant): readonly Success[] {
    if (settlements.length === 0) return [];
    const settled = [...byReason(settlements)].flatMap(([reason, batch]) => (this.#writeBatch(reason, batch, now) ? batch : []));
    const outputs = outputsOf(settled);
    if (outputs !== undefined) this.#connection.prepare(writeOutputs).run(outputs);
    return settled;
  }

  #writeBatch(reason: string, batch: readonly Success[], now: Instant): boolean {
    const complete = this.#rows.put(batch) && this.#connection.prepare(endRuns).run(now, reason).changes === batch.length;
    if (complete) {
      const ended = this.#connection.prepare(endLive).run().changes;
      const done = this.#connection.prepare(endJobs).run(now).changes;
      if (ended !== batch.length || done !== batch.length)
        throw new Error(`of ${batch.length} jobs with a live run ${done} could be ended`);
    } else this.#connection.prepare(takeBackRuns).run();
    this.#rows.clear();
    return complete;
  }

  #settleOne(settlement: Settlement, now: Instant, hints: Set<StoreHint>): PhaseAnswer {
    const facts = this.#ends.facts(settlement.runId);
    if (facts !== undefined && facts.itemId !== null && facts.state !== "ended") return withItem;
    this.special.delete(settlement.runId);
    const plan = planApart(settlement, facts, now);
    if (plan.kind === "end" && facts !== undefined) {
      this.#ends.write(plan.end, facts, now, hints);
      return settledAs(plan.end);
    }
    if (plan.kind === "lost" && facts !== undefined) {
      this.#ends.recordLate({
        at: now,
        actor: settlement.actor ?? "worker",
        reason: settlement.reason,
        tried: lateResult(settlement, plan.why),
        run: facts,
      });
    }
    return plan.kind === "end" ? { kind: "gone" } : plan;
  }
}

/** One batch, as a rule: the successes of a turn have one reason. */
function byReason(settlements: readonly Success[]): ReadonlyMap<string, Success[]> {
  const batches = new Map<string, Success[]>();
  for (const settlement of settlements) {
    const batch = batches.get(settlement.reason);
    if (batch === undefined) batches.set(settlement.reason, [settlement]);
    else batch.push(settlement);
  }
  return batches;
}

function outputsOf(settlements: readonly Success[]): string | undefined {
  let text = "";
  for (const { output, jobId } of settlements) {
    if (output !== undefined) text += `${text === "" ? "" : ","}"${jobId}":${JSON.stringify(output)}`;
  }
  return text === "" ? undefined : `{${text}}`;
}
