import type { JobId, RunId } from "../../domain/ids.ts";
import type { Instant } from "../../domain/time.ts";
import type { SettleAnswer, Settlement, Success } from "../port/runs.ts";
import type { StoreHint } from "../port/store.ts";
import { isPlainSuccess, lateResult, planSettlement, settledAs } from "../runs/settle-plan.ts";
import type { SqliteConnection } from "./connection.ts";
import type { GroupPhase } from "./group-commit.ts";
import type { SqliteRunEnds } from "./run-ends.ts";

/**
 * Ends plain successes without a slot, under their first supervisor, of runs on record as started. A run id belongs to one job, so the two
 * lists together are the pairwise fence.
 */
const endPlainJobs = `
  update jobs set state = 'done', finished_at = ?, current_run_id = null, current_epoch = null
  where id in (select value from json_each(?)) and current_run_id in (select value from json_each(?)) and current_epoch = 1 and item_id is null`;
const endPlainRuns = `
  update runs set state = 'ended', ended_at = ?, outcome = 'succeeded', reason = ?, spent = 'attempt'
  where id in (select value from json_each(?)) and state in ('started', 'exited') and slot_key is null and coalesce(exit_code, 0) = 0`;

/** The same where starts are folded into ends: an attempt is counted for each run that is still on record as reserved. */
const endFoldedJobs = `
  update jobs set state = 'done', finished_at = ?, current_run_id = null, current_epoch = null,
    attempts = attempts + (select r.state = 'reserved' from runs r where r.id = jobs.current_run_id)
  where id in (select value from json_each(?)) and current_run_id in (select value from json_each(?)) and current_epoch = 1 and item_id is null`;
/** The pairs travel as one object, { run id: start }: keys and values are read without taking JSON apart row by row. */
const endFoldedRuns = `
  update runs set state = 'ended', ended_at = ?, started_at = coalesce(started_at, e.value), outcome = 'succeeded', reason = ?, spent = 'attempt'
  from json_each(?) e where runs.id = e.key and runs.ended_at is null and runs.slot_key is null and coalesce(runs.exit_code, 0) = 0`;

const writeOutputs = "update jobs set output = e.value from json_each(?) e where jobs.id = e.key";

/** `with_item`: to be settled in a transaction of its own, because its item moves with it. */
export type PhaseAnswer = SettleAnswer | { readonly kind: "with_item" };

const ok: SettleAnswer = { kind: "ok", outcome: "succeeded", jobState: "done" };
const okOnce: readonly SettleAnswer[] = [ok];
const withItem: PhaseAnswer = { kind: "with_item" };

/** What the settlements of one statement have in common. */
interface PlainBatch {
  readonly reason: string;
  readonly folded: boolean;
  readonly jobIds: JobId[];
  /** As text, which the statements take twice: making it is a good part of what a settlement costs beside SQLite. */
  readonly runIds: string[];
  readonly starts: string[];
}

/** Ends runs: plain successes by the batch, everything else one by one, items left to the caller. */
export class SettlePhase implements GroupPhase<readonly Settlement[], readonly PhaseAnswer[]> {
  readonly #connection: SqliteConnection;
  readonly #ends: SqliteRunEnds;
  readonly #now: () => Instant;
  /** Runs with a slot or an item, as far as this process knows: a batch with one of them would fall short and be done twice. */
  readonly special = new Set<RunId>();

  constructor(options: { readonly connection: SqliteConnection; readonly ends: SqliteRunEnds; readonly now: () => Instant }) {
    this.#connection = options.connection;
    this.#ends = options.ends;
    this.#now = options.now;
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
    const batched = plain.length > 0 && this.#settleBatch(plain, now);
    // The usual turn: nothing but plain successes, each caller with one.
    if (batched && plain.length === count) return inputs.map((input) => (input.length === 1 ? okOnce : input.map(() => ok)));
    return inputs.map((input) =>
      input.map((settlement) => (batched && this.#isPlain(settlement) ? ok : this.#settleOne(settlement, now, hints))),
    );
  }

  #isPlain(settlement: Settlement): settlement is Success {
    return isPlainSuccess(settlement) && !this.special.has(settlement.runId);
  }

  /** False: it fell short, so at least one of them has lost its run or is not plain after all; nothing is written. */
  #settleBatch(settlements: readonly Success[], now: Instant): boolean {
    this.#connection.prepare("savepoint plain").run();
    for (const batch of inBatches(settlements)) {
      if (this.#writeBatch(batch, now)) continue;
      this.#connection.prepare("rollback to plain").run();
      this.#connection.prepare("release plain").run();
      return false;
    }
    const outputs = outputsOf(settlements);
    if (outputs !== undefined) this.#connection.prepare(writeOutputs).run(outputs);
    this.#connection.prepare("release plain").run();
    return true;
  }

  #writeBatch(batch: PlainBatch, now: Instant): boolean {
    const size = batch.jobIds.length;
    const jobIds = `[${batch.jobIds.join(",")}]`;
    const runIds = `[${batch.runIds.join(",")}]`;
    if (this.#connection.prepare(batch.folded ? endFoldedJobs : endPlainJobs).run(now, jobIds, runIds).changes !== size) return false;
    const closed = batch.folded
      ? this.#connection.prepare(endFoldedRuns).run(now, batch.reason, startsOf(batch))
      : this.#connection.prepare(endPlainRuns).run(now, batch.reason, runIds);
    return closed.changes === size;
  }

  #settleOne(settlement: Settlement, now: Instant, hints: Set<StoreHint>): PhaseAnswer {
    const facts = this.#ends.facts(settlement.runId);
    if (facts !== undefined && facts.itemId !== null && facts.state !== "ended") return withItem;
    this.special.delete(settlement.runId);
    const plan = planSettlement(settlement, facts, now);
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

function inBatches(settlements: readonly Settlement[]): readonly PlainBatch[] {
  const batches: PlainBatch[] = [];
  let batch: PlainBatch | undefined;
  let start: { readonly at: Instant | undefined; readonly text: string } = { at: undefined, text: "" };
  for (const { reason, startedAt, jobId, runId } of settlements) {
    const folded = startedAt !== undefined;
    if (batch?.folded !== folded || batch.reason !== reason) {
      batch = batches.find((known) => known.folded === folded && known.reason === reason);
      if (batch === undefined) {
        batch = { reason, folded, jobIds: [], runIds: [], starts: [] };
        batches.push(batch);
      }
    }
    batch.jobIds.push(jobId);
    batch.runIds.push(String(runId));
    if (!folded) continue;
    // Many start in one millisecond.
    if (startedAt !== start.at) start = { at: startedAt, text: String(startedAt) };
    batch.starts.push(start.text);
  }
  return batches;
}

/** Written by hand: an object with numeric keys would be sorted, and built a property at a time. */
function startsOf(batch: PlainBatch): string {
  let text = "{";
  for (let index = 0; index < batch.runIds.length; index += 1)
    text += `${index === 0 ? "" : ","}"${batch.runIds[index]}":${batch.starts[index]}`;
  return `${text}}`;
}

function outputsOf(settlements: readonly Success[]): string | undefined {
  let text = "";
  for (const { output, jobId } of settlements) {
    if (output !== undefined) text += `${text === "" ? "" : ","}"${jobId}":${JSON.stringify(output)}`;
  }
  return text === "" ? undefined : `{${text}}`;
}
