import type { LoopSwitch } from "../../config/loop-settings.ts";
import { messageOf } from "../../domain/errors.ts";
import type { ItemId, VisitId } from "../../domain/ids.ts";
import { type Instant, seconds } from "../../domain/time.ts";
import type { RaiseAlert, Tell } from "../../notify/raise-alert.ts";
import { StoredStages } from "../../pipelines/reading/stored-stages.ts";
import type { PipelineRegistry } from "../../pipelines/registry.ts";
import { inLanes } from "../../runtime/each-limit.ts";
import type { Finaliser } from "../../settling/finaliser.ts";
import { tellItemStep } from "../../settling/tell-ends.ts";
import type { StrandedItem } from "../../store/port/items.ts";
import type { Advance, LiveRun } from "../../store/port/runs.ts";
import type { Store } from "../../store/port/store.ts";
import type { Loop, TickContext, TickReport } from "../skeleton/loop.ts";
import { type LoopParts, type LoopSpec, ownSwitch } from "../skeleton/loop-spec.ts";
import { judgeStranded, type StrandedVerdict } from "./stranded-verdict.ts";
import { UndeclaredStages } from "./undeclared-stages.ts";

export interface ReconcilerDeps {
  readonly store: Pick<Store, "items" | "jobs" | "workers" | "upkeep" | "now">;
  readonly registry: PipelineRegistry;
  /** Reads the gate of a run that ended well while its item stayed behind. */
  readonly finaliser: Pick<Finaliser, "finalise">;
  readonly alert: RaiseAlert;
  /** Items of one page. Default 100. */
  readonly pageSize?: number;
  /** Items looked at in one tick; the next tick goes on behind them. Default 1000. */
  readonly itemsMax?: number;
}

type Handled = "settled" | "lost" | "waiting";

/** How long an item with an unreadable gate waits is counted from the first failed reading of this process. */
interface GateMemory {
  readonly visitId: VisitId;
  readonly pendingAt: Instant;
  readonly readAgainAt: Instant;
}

const actor = "reconciler";
/** Items handled at once: a slow gate of one holds up few others. */
const gatesAtOnce = 4;

/**
 * Finds active items whose visit has no unfinished job, which nothing else would ever move, and moves, redrives or ends them. Each verb
 * is guarded by the visit, so whoever was quicker wins. Acting at all means that something was lost before, hence the alert.
 * Jobs that wait for a stage which nothing declares any more are held.
 */
export function createReconcilerLoop(deps: ReconcilerDeps): Loop<"reconciler"> {
  const { store, registry, finaliser, pageSize = 100, itemsMax = 1000 } = deps;
  const gates = new Map<ItemId, GateMemory>();
  /** What a person was told already, by item; forgotten when the item is stranded no more. */
  const told = new Map<ItemId, string>();
  let after: ItemId | undefined;
  const undeclared = new UndeclaredStages({
    store,
    registry,
    stored: new StoredStages(registry, store.items),
    alert: deps.alert,
    pageSize,
    jobsMax: itemsMax,
  });
  const counts = { redriven: 0, advanced: 0, ended: 0, held: 0, slots_corrected: 0 };

  const handle = async (stranded: StrandedItem, context: TickContext): Promise<Handled> => {
    const { item } = stranded;
    if (registry.entry(item.pipeline, item.stage) === undefined) {
      // Whatever its job says: without a definition there is no gate to read and no stage to run again.
      const job = judgeStranded(stranded);
      if (job.kind === "end") return await end(stranded, job, context);
      // Another daemon of this store knows the stage, and its reconciler looks after the item.
      if (undeclared.isElsewhere(item)) return "waiting";
      return await tell(
        stranded,
        `stage ${item.stage} of pipeline ${item.pipeline} is not declared any more: declare it again, or cancel the item`,
        context,
      );
    }
    return await act(stranded, judgeStranded(stranded), context);
  };

  const act = async (stranded: StrandedItem, verdict: StrandedVerdict, context: TickContext): Promise<Handled> => {
    switch (verdict.kind) {
      case "alert":
        return await tell(stranded, verdict.reason, context);
      case "end":
        return await end(stranded, verdict, context);
      case "redrive":
        return await redrive(stranded, verdict.reason, context);
      case "read_gate":
        return await passIfGreen(stranded, verdict, context);
    }
  };

  const redrive = async (stranded: StrandedItem, reason: string, context: TickContext): Promise<Handled> => {
    const { item, visit } = stranded;
    const entry = registry.entry(item.pipeline, item.stage);
    if (entry === undefined) return "lost";
    const onExhausted = registry.stageOfQueue(entry.queue)?.stage.onExhausted ?? "hold";
    const became = await store.items.redrive(item.id, { visitId: visit.id, entry, onExhausted, actor, reason });
    switch (became) {
      case undefined:
        return "lost";
      case "queued":
        counts.redriven += 1;
        await acted(stranded, { action: "redriven", what: `given a job again: ${reason}` }, context);
        return "settled";
      case "held":
        // The store has told a person of the job, in the same transaction.
        counts.held += 1;
        context.emit("item.recovered", {
          itemId: item.id,
          stage: item.stage,
          action: "held",
          reason: `given a job that is held: ${reason}`,
        });
        return "settled";
      case "failed":
        return await ended(stranded, { state: "failed", reason: `${reason}, and its ${visit.maxAttempts} attempts are spent` }, context);
    }
  };

  const end = async (
    stranded: StrandedItem,
    verdict: Extract<StrandedVerdict, { kind: "end" }>,
    context: TickContext,
  ): Promise<Handled> => {
    const { item, visit } = stranded;
    const { state, reason } = verdict;
    if (!(await store.items.end(item.id, { visitId: visit.id, state, actor, reason }))) return "lost";
    return await ended(stranded, verdict, context);
  };

  const ended = async (
    stranded: StrandedItem,
    { state, reason }: { readonly state: "failed" | "cancelled"; readonly reason: string },
    context: TickContext,
  ): Promise<Handled> => {
    const { item } = stranded;
    counts.ended += 1;
    tellItemStep(context.emit, { kind: state, itemId: item.id }, reason);
    await acted(stranded, { action: "ended", what: `ended as ${state}: ${reason}` }, context);
    return "settled";
  };

  const passIfGreen = async (
    stranded: StrandedItem,
    { run, reason }: { readonly run: LiveRun; readonly reason: string },
    context: TickContext,
  ): Promise<Handled> => {
    const { item, visit } = stranded;
    const memory = gates.get(item.id);
    const pending = memory?.visitId === visit.id ? memory : undefined;
    if (pending !== undefined && pending.readAgainAt > context.now) return "waiting";
    const finalised = await finaliser.finalise({ ...run, gatePendingAt: pending?.pendingAt ?? null }, { actor, signal: context.signal });
    // Stopped over it: the gate was not read, and nothing follows from that.
    if (context.signal.aborted) return "waiting";
    if (finalised.kind === "wait") {
      gates.set(item.id, { visitId: visit.id, pendingAt: pending?.pendingAt ?? context.now, readAgainAt: finalised.readAgainAt });
      return "waiting";
    }
    gates.delete(item.id);
    const { settlement } = finalised;
    if (settlement.outcome === "succeeded") {
      return settlement.advance === undefined ? "lost" : await advance(stranded, { advance: settlement.advance, reason }, context);
    }
    return settlement.disposition === "hold"
      ? await tell(stranded, settlement.message, context)
      : await redrive(stranded, settlement.message, context);
  };

  const advance = async (
    stranded: StrandedItem,
    move: { readonly advance: Advance; readonly reason: string },
    context: TickContext,
  ): Promise<Handled> => {
    const { item, visit } = stranded;
    if (!(await store.items.advance(item.id, { visitId: visit.id, ...move, actor }))) return "lost";
    counts.advanced += 1;
    const to = move.advance.kind === "next" ? move.advance.stage : null;
    const ref = { itemId: item.id, from: item.stage };
    tellItemStep(context.emit, to === null ? { kind: "finished", ...ref } : { kind: "advanced", ...ref, to }, move.reason);
    await acted(stranded, { action: "advanced", what: `moved on to ${to ?? "its end"}: ${move.reason}` }, context);
    return "settled";
  };

  const acted = async (
    stranded: StrandedItem,
    { action, what }: { readonly action: "redriven" | "advanced" | "ended"; readonly what: string },
    context: TickContext,
  ): Promise<void> => {
    const { item } = stranded;
    context.emit("item.recovered", { itemId: item.id, stage: item.stage, action, reason: what });
    await alert(stranded, {
      cause: `reconciler.acted:${item.id}:${stranded.visit.id}`,
      title: `Item ${item.key} was stranded in ${item.stage} and ${what}`,
    });
  };

  const tell = async (stranded: StrandedItem, reason: string, { dryRun }: TickContext): Promise<Handled> => {
    const { item, visit } = stranded;
    const words = `${visit.id} ${reason}`;
    if (dryRun || told.get(item.id) === words) return "waiting";
    const isTold = await alert(stranded, {
      cause: `reconciler.stranded:${item.id}:${visit.id}`,
      title: `Item ${item.key} is stranded in ${item.stage}: ${reason}`,
    });
    if (isTold) told.set(item.id, words);
    return "waiting";
  };

  const alert = async (
    { item, visit }: StrandedItem,
    { cause, title }: { readonly cause: string; readonly title: string },
  ): Promise<boolean> => {
    const details = { itemId: item.id, visitId: visit.id, pipeline: item.pipeline, stage: item.stage, key: item.key };
    return await deps.alert({ cause, title, details });
  };

  const recount = async ({ emit }: TickContext): Promise<void> => {
    const wrong = await store.upkeep.recountSlots();
    counts.slots_corrected += wrong.length;
    if (wrong.length > 0)
      emit("defect.found", { where: "slots", message: `the use of ${wrong.join(", ")} was counted wrongly and is corrected` });
  };

  return {
    name: "reconciler",
    details: () => ({ ...counts, stranded: told.size, gates_waiting: gates.size }),
    tick: async (context): Promise<TickReport> => {
      const report = { seen: 0, settled: 0, lost: 0, failed: 0 };
      const would: string[] = [];
      const stillStranded = new Set<ItemId>();
      await undeclared.look(context.now);
      let cursor = context.dryRun ? undefined : after;
      const wholeRound = cursor === undefined;
      let more = true;
      while (more && report.seen < itemsMax && !context.signal.aborted) {
        const page = await store.items.listStranded({ limit: pageSize, ...(cursor === undefined ? {} : { after: cursor }) });
        await inLanes(page, { count: gatesAtOnce, signal: context.signal }, async (stranded) => {
          report.seen += 1;
          stillStranded.add(stranded.item.id);
          if (context.dryRun) {
            would.push(describe(stranded));
            return;
          }
          try {
            const handled = await handle(stranded, context);
            if (handled !== "waiting") report[handled] += 1;
          } catch (thrown) {
            report.failed += 1;
            context.emit("loop.subject_failed", { loop: "reconciler", subject: `item ${stranded.item.id}`, message: messageOf(thrown) });
          }
        });
        more = page.length === pageSize;
        cursor = more ? page.at(-1)?.item.id : undefined;
      }
      if (!context.dryRun && !context.signal.aborted) after = cursor;
      if (wholeRound && !more && !context.signal.aborted) {
        for (const known of [...told.keys(), ...gates.keys()]) {
          if (stillStranded.has(known)) continue;
          told.delete(known);
          gates.delete(known);
        }
      }
      if (!context.dryRun) await recount(context);
      const waiting = await undeclared.hold(context);
      counts.held += waiting.held;
      if (!context.dryRun) await undeclared.tellUnserved(context.now);
      return {
        seen: report.seen + waiting.seen,
        settled: report.settled + waiting.held,
        lost: report.lost + waiting.lost,
        failed: report.failed + waiting.failed,
        ...(context.dryRun ? { would: [...would, ...waiting.would] } : {}),
        // Where none could be held, as on a full disk, the same ones would only be read again.
        ...(more || (waiting.more && waiting.held > 0) ? { nextInMs: 0 } : {}),
      };
    },
  };
}

function describe(stranded: StrandedItem): string {
  const verdict = judgeStranded(stranded);
  const what = {
    read_gate: "read its gate and move it on",
    redrive: "give it a job again, as far as its attempts go",
    end: "end it",
    alert: "tell a person",
  }[verdict.kind];
  return `item ${stranded.item.id} in ${stranded.item.stage}: ${what}, because ${verdict.reason}`;
}

/** What a process that runs the reconciler builds it of. */
export interface ReconcilerParts extends LoopParts, Pick<ReconcilerDeps, "store" | "registry"> {
  readonly settling: { readonly finaliser: Finaliser };
  readonly tell: Tell;
  readonly settings: () => LoopSwitch<"reconciler">;
}

export const reconcilerSpec: LoopSpec<"reconciler", ReconcilerParts> = {
  name: "reconciler",
  kind: "guarded",
  intervalMs: () => seconds(10),
  enabled: ownSwitch("reconciler"),
  wokenBy: [],
  build: ({ store, registry, settling, tell }) =>
    createReconcilerLoop({ store, registry, finaliser: settling.finaliser, alert: tell.alert }),
};
