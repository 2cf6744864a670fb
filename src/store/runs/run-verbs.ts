import { type SqlBool, sql, type Transaction, type Updateable } from "kysely";
import { asOwnerEpoch, type JobId, type OwnerEpoch } from "../../domain/ids.ts";
import type { Instant } from "../../domain/time.ts";
import { type Engine, lockRows } from "../engine/engine.ts";
import type { Database, RowOf } from "../engine/tables.ts";
import { clearBlock } from "../jobs/block.ts";
import type { Fence, FencedAnswer, RunsStore } from "../port/runs.ts";
import { appendActions } from "../records/action-log.ts";
import { findRun } from "./all-runs.ts";
import { endedAs } from "./held-runs.ts";
import { processColumns } from "./run-row.ts";
import { lostTo, takenOver } from "./settle-plan.ts";

/** The verbs of runs that happen a few times in a command's life: written once, each in a transaction of its own. */
export type RunVerbs = Pick<
  RunsStore,
  "recordProcess" | "recordExit" | "recordGatePending" | "takeOver" | "clearBlocks" | "addSuspend" | "bringChecksForward" | "checkUnheld"
>;

const idsPerStatement = 500;

export function createRunVerbs(engine: Engine): RunVerbs {
  const fenced = async (body: (tx: Transaction<Database>) => Promise<FencedAnswer>): Promise<FencedAnswer> =>
    await engine.transaction(body);
  return {
    recordProcess: async (run) =>
      await fenced(async (tx) => await updateLive(tx, run, ["reserved", "started"], processColumns(run.process))),
    recordExit: async (run) => await fenced(async (tx) => await recordExit(engine, tx, run)),
    recordGatePending: async (run) => {
      const { checkAt, pendingSince } = run;
      return await fenced(
        async (tx) => await updateLive(tx, run, ["started", "exited"], { check_at: checkAt, gate_pending_at: pendingSince }),
      );
    },
    checkUnheld: async (session) => await checkUnheld(engine, session),
    bringChecksForward: async (thresholds) => await engine.transaction(async (tx) => await bringChecksForward(engine, tx, thresholds)),
    takeOver: async (run) => {
      const ownerEpoch = await engine.transaction(async (tx) => await takeOver(engine, tx, run));
      if (ownerEpoch !== undefined) engine.hint("workers");
      return ownerEpoch;
    },
    clearBlocks: async (blocks) => {
      if (blocks.length === 0) return [];
      const cleared = await engine.transaction(async (tx) => await clearBlocks(engine, tx, blocks));
      if (cleared.size > 0) engine.hint("jobs", "leases");
      return blocks.map(({ jobId }) => cleared.has(jobId));
    },
    addSuspend: async ({ hostId, ms }) => {
      await engine.transaction(async (tx) => {
        await sql`update live set suspended_ms = suspended_ms + ${ms} where host_id = ${hostId} and pid is not null`.execute(tx);
        // A handler run has no process of its own: it slept where its worker did.
        const workers = await tx
          .selectFrom("workers")
          .select("id")
          .where("host_id", "=", hostId)
          .where("state", "in", ["live", "draining"])
          .execute();
        const ids = workers.map(({ id }) => id);
        if (ids.length > 0)
          await sql`update live set suspended_ms = suspended_ms + ${ms} where pid is null and worker_id in (${sql.join(ids)})`.execute(tx);
      });
    },
  };
}

/** A renewal comes every few seconds from each session, and nearly always finds nothing: it only reads then. */
async function checkUnheld(engine: Engine, { workerId, held, claimSeqReceived }: Parameters<RunsStore["checkUnheld"]>[0]): Promise<number> {
  const now = engine.now();
  const found = await engine.kysely
    .selectFrom("live")
    .select("id")
    .where("worker_id", "=", workerId)
    .where("claim_seq", "<=", claimSeqReceived)
    .where(mayBeUnheld)
    .where("check_at", ">", now)
    .execute();
  const holds = new Set(held);
  const unheld = found.map(({ id }) => id).filter((id) => !holds.has(id));
  let moved = 0;
  for (let from = 0; from < unheld.length; from += idsPerStatement) {
    const ids = unheld.slice(from, from + idsPerStatement);
    const { numUpdatedRows } = await engine.transaction(async (tx) => {
      if (engine.capabilities.rowLocks)
        await tx.selectFrom("live").select("id").where("id", "in", ids).orderBy(sql`job_id + 0`).forUpdate().execute();
      return await tx
        .updateTable("live")
        .set({ check_at: now })
        .where("id", "in", ids)
        .where("worker_id", "=", workerId)
        .where(mayBeUnheld)
        .executeTakeFirst();
    });
    moved += Number(numUpdatedRows);
  }
  return moved;
}

/** Reserved runs, and those of handlers that have started: their judge waits before it believes it of these. */
const mayBeUnheld = sql<boolean>`(state = 'reserved' or (state = 'started' and kind = 'handler'))`;

/** Set-based, because all that it needs stands in the rows; locked in the order of their jobs first. */
async function bringChecksForward(
  engine: Engine,
  tx: Transaction<Database>,
  { startWithinMs, maxRunningMs, finalizeGraceMs }: Parameters<RunsStore["bringChecksForward"]>[0],
): Promise<number> {
  const due = sql<Instant>`(case state when 'reserved' then reserved_at + ${startWithinMs}
    when 'started' then started_at + ${maxRunningMs} else exited_at + ${finalizeGraceMs} end)`;
  const late = await lockRows(
    engine,
    tx
      .selectFrom("live")
      .select("job_id")
      .where("gate_pending_at", "is", null)
      .where(sql<SqlBool>`(state <> 'started' or (max_running_ms is null and timeout_ms is null))`)
      // Runs that are due already need no move, and the index holds those that are not.
      .where("check_at", ">", engine.now())
      .where("check_at", ">", due)
      .orderBy(sql`job_id + 0`),
  ).execute();
  for (let from = 0; from < late.length; from += idsPerStatement) {
    const ids = late.slice(from, from + idsPerStatement).map(({ job_id }) => job_id);
    await tx.updateTable("live").set({ check_at: due }).where("job_id", "in", ids).execute();
  }
  return late.length;
}

type RunColumns = Updateable<Database["live"]>;

/** One guarded write to a run that has not ended; when it changes nothing, the answer says why. */
async function updateLive(
  tx: Transaction<Database>,
  fence: Fence,
  from: readonly RowOf<"live">["state"][],
  values: RunColumns,
): Promise<FencedAnswer> {
  const { numUpdatedRows } = await tx
    .updateTable("live")
    .set(values)
    .where("id", "=", fence.runId)
    .where("owner_epoch", "=", fence.ownerEpoch)
    .where("state", "in", from)
    .executeTakeFirst();
  return numUpdatedRows > 0n ? { kind: "ok" } : await whyNot(tx, fence);
}

async function whyNot(tx: Transaction<Database>, fence: Fence): Promise<FencedAnswer> {
  const run = await findRun(tx, fence.runId)
    .select(["state", "owner_epoch as ownerEpoch", "worker_id as workerId", "outcome", "reason"])
    .executeTakeFirst();
  if (run === undefined) return { kind: "gone" };
  if (run.state === "ended") return lostTo(run, endedAs(run));
  if (run.ownerEpoch !== fence.ownerEpoch) return lostTo(run, takenOver(run.ownerEpoch, fence.ownerEpoch));
  return lostTo(run, `the run is ${run.state}`);
}

async function recordExit(engine: Engine, tx: Transaction<Database>, run: Parameters<RunsStore["recordExit"]>[0]): Promise<FencedAnswer> {
  const now = engine.now();
  const answer = await updateLive(tx, run, ["started"], {
    state: "exited",
    exited_at: now,
    exit_code: run.exitCode,
    check_at: run.checkAt,
  });
  if (answer.kind !== "lost") return answer;
  const row = await findRun(tx, run.runId).select(["job_id", "worker_id", "exit_code"]).executeTakeFirstOrThrow();
  // Asked again after an answer that was lost on its way: the same exit under the same fence.
  if (answer.now.state === "exited" && answer.now.ownerEpoch === run.ownerEpoch && row.exit_code === run.exitCode)
    return { kind: "already" };
  const evidence = JSON.stringify({ ownerEpoch: run.ownerEpoch, exitCode: run.exitCode, why: answer.why });
  const known = await tx
    .selectFrom("action_logs")
    .select("id")
    .where("job_id", "=", row.job_id)
    .where("run_id", "=", run.runId)
    .where("action", "=", "run.late_result")
    .where("evidence", "=", evidence)
    .executeTakeFirst();
  if (known === undefined) {
    const late = {
      action: "run.late_result",
      actor: "worker",
      reason: "exit",
      evidence,
      jobId: row.job_id,
      runId: run.runId,
      workerId: row.worker_id,
    };
    await appendActions(tx, now, [late]);
  }
  return answer;
}

async function takeOver(
  engine: Engine,
  tx: Transaction<Database>,
  run: Parameters<RunsStore["takeOver"]>[0],
): Promise<OwnerEpoch | undefined> {
  const next = asOwnerEpoch(run.ownerEpoch + 1);
  const row = await tx.selectFrom("live").select(["job_id", "worker_id"]).where("id", "=", run.runId).executeTakeFirst();
  if (row === undefined) return undefined;
  const taken = await tx
    .updateTable("live")
    // Claims are numbered by session: none of the new supervisor's covers this run.
    .set({ worker_id: run.workerId, owner_epoch: next, check_at: run.checkAt, claim_seq: 0 })
    .where("id", "=", run.runId)
    .where("owner_epoch", "=", run.ownerEpoch)
    .executeTakeFirst();
  if (taken.numUpdatedRows === 0n) return undefined;
  await appendActions(tx, engine.now(), [
    {
      action: "run.taken_over",
      actor: run.actor,
      reason: run.reason,
      message: `worker ${run.workerId} supervises the run now, after worker ${row.worker_id ?? "none"} (owner epoch ${next})`,
      jobId: row.job_id,
      runId: run.runId,
      workerId: run.workerId,
    },
  ]);
  return next;
}

async function clearBlocks(
  engine: Engine,
  tx: Transaction<Database>,
  blocks: Parameters<RunsStore["clearBlocks"]>[0],
): Promise<ReadonlySet<JobId>> {
  const cleared = new Set<JobId>();
  for (const { runId, proof, actor } of blocks) {
    const jobs = await clearBlock(tx, runId);
    for (const { id } of jobs) cleared.add(id);
    await appendActions(
      tx,
      engine.now(),
      jobs.map(({ id, item_id }) => ({ action: "run.stopped", actor, reason: proof, jobId: id, runId, itemId: item_id })),
    );
  }
  return cleared;
}
