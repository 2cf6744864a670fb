import { sql, type Transaction } from "kysely";
import type { RunId } from "../../domain/ids.ts";
import type { Instant } from "../../domain/time.ts";
import type { Engine } from "../engine/engine.ts";
import type { Database } from "../engine/tables.ts";
import type { ItemStep, SettleAnswer, Settlement } from "../port/runs.ts";
import type { StoreHint } from "../port/store.ts";
import { putStateFile } from "../records/outbox-entries.ts";
import { lateResult, notSettled, planSettlement, type RunEnd, type SettleFacts, settledAs } from "../runs/settle-plan.ts";
import { advanceItem, cancelItem, type EndItem, failItem, itemHints } from "./item-advance.ts";

/** How an engine reads and writes the end of a run inside a transaction of Kysely's. */
export interface RunEndWriter {
  /** Locks the run's job where the engine has row locks. */
  facts(tx: Transaction<Database>, runId: RunId): Promise<SettleFacts | undefined>;
  write(tx: Transaction<Database>, end: RunEnd, facts: SettleFacts, now: Instant): Promise<void>;
  recordLate(
    tx: Transaction<Database>,
    late: { readonly at: Instant; readonly actor: string; readonly reason: string; readonly tried: string; readonly run: SettleFacts },
  ): Promise<void>;
}

/** Most settlements of one transaction: each is a dozen statements. */
const membersMax = 50;

/**
 * Settles runs of items, with the visit's budget and the item's next step in one transaction: no crash leaves one without the other. Each
 * member has a savepoint, so one that throws leaves nothing of its own.
 *
 * @returns The answers, in the order given.
 */
export async function settleItems(
  engine: Engine,
  writer: RunEndWriter,
  settlements: readonly Settlement[],
): Promise<readonly SettleAnswer[]> {
  const answers: SettleAnswer[] = [];
  const hints = new Set<StoreHint>();
  for (let from = 0; from < settlements.length; from += membersMax) {
    const members = settlements.slice(from, from + membersMax);
    try {
      const settled = await engine.transaction(async (tx) => {
        const outcomes: typeof answers = [];
        for (const settlement of members) outcomes.push(await settleApart(engine, writer, tx, settlement, hints));
        return outcomes;
      });
      answers.push(...settled);
    } catch (thrown) {
      // Other members of the call may be committed already: theirs are answered.
      answers.push(...members.map(() => notSettled(thrown)));
    }
  }
  if (hints.size > 0) engine.hint(...hints);
  return answers;
}

async function settleApart(
  engine: Engine,
  writer: RunEndWriter,
  tx: Transaction<Database>,
  settlement: Settlement,
  hints: Set<StoreHint>,
): Promise<SettleAnswer> {
  await sql`savepoint settlement`.execute(tx);
  try {
    const answer = await settleOne(engine, writer, tx, settlement, hints);
    await sql`release savepoint settlement`.execute(tx);
    return answer;
  } catch (thrown) {
    // The caller gets it once the others are committed. Where the connection is gone the rollback throws, and everything fails with it.
    await sql`rollback to savepoint settlement`.execute(tx);
    await sql`release savepoint settlement`.execute(tx);
    return notSettled(thrown);
  }
}

async function settleOne(
  engine: Engine,
  writer: RunEndWriter,
  tx: Transaction<Database>,
  settlement: Settlement,
  hints: Set<StoreHint>,
): Promise<SettleAnswer> {
  const now = engine.now();
  const facts = await writer.facts(tx, settlement.runId);
  const plan = planSettlement(settlement, facts, now);
  if (facts === undefined || plan.kind !== "end") {
    if (facts !== undefined && plan.kind === "lost") {
      await writer.recordLate(tx, {
        at: now,
        actor: settlement.actor ?? "worker",
        reason: settlement.reason,
        tried: lateResult(settlement, plan.why),
        run: facts,
      });
    }
    return plan.kind === "end" ? { kind: "gone" } : plan;
  }
  await writer.write(tx, plan.end, facts, now);
  const item = await moveItem(tx, settlement, plan.end, now);
  for (const hint of itemHints) hints.add(hint);
  if (plan.end.stopBy !== null) hints.add("blocked");
  if (plan.end.jobState === "scheduled") hints.add("scheduled");
  return settledAs(plan.end, item);
}

async function moveItem(tx: Transaction<Database>, settlement: Settlement, end: RunEnd, now: Instant): Promise<ItemStep | undefined> {
  const { itemId, visitId } = end;
  if (itemId === null) return undefined;
  const step = visitId === null ? undefined : await stepOf(tx, settlement, end, { itemId, visitId, error: end.error, now });
  await putStateFile(tx, now, itemId);
  return step;
}

async function stepOf(tx: Transaction<Database>, settlement: Settlement, end: RunEnd, visit: EndItem): Promise<ItemStep | undefined> {
  if (settlement.outcome === "succeeded") {
    const { advance, output = null } = settlement;
    const { itemId, visitId, now } = visit;
    return advance === undefined ? undefined : await advanceItem(tx, { itemId, visitId, advance, output, now });
  }
  if (end.jobState === "failed") return await failItem(tx, visit);
  // A job that goes back stays as unclaimable as it was: pausing an item marks its running job as well.
  return end.jobState === "cancelled" ? await cancelItem(tx, visit) : undefined;
}
