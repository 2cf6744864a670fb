import type { LoopSettings, LoopSwitch } from "../../config/loop-settings.ts";
import { messageOf } from "../../domain/errors.ts";
import type { ItemId, VisitId } from "../../domain/ids.ts";
import { type Instant, seconds } from "../../domain/time.ts";
import type { RaiseAlert, Tell } from "../../notify/raise-alert.ts";
import { StoredStages } from "../../pipelines/reading/stored-stages.ts";
import type { PipelineRegistry } from "../../pipelines/registry.ts";
import type { Host } from "../../processes/probe/host.ts";
import { eachLimit } from "../../runtime/each-limit.ts";
import type { Finaliser } from "../../settling/finaliser.ts";
import { tellItemStep } from "../../settling/tell-ends.ts";
import type { StrandedItem } from "../../store/port/items.ts";
import type { Advance, LiveRun } from "../../store/port/runs.ts";
import type { Store } from "../../store/port/store.ts";
import type { Loop, TickContext, TickReport } from "../skeleton/loop.ts";
import type { LoopReports } from "../skeleton/loop-reports.ts";
import { type LoopParts, type LoopSpec, ownSwitch } from "../skeleton/loop-spec.ts";
import { LostHosts, type LostHostsDeps } from "./lost-hosts.ts";
import { judgeStranded, type StrandedVerdict } from "./stranded-verdict.ts";
import { UndeclaredStages } from "./undeclared-stages.ts";

export interface ReconcilerDeps {
  readonly store: Pick<Store, "items" | "jobs" | "workers" | "daemons" | "upkeep" | "now" | "capabilities">;
  /** Of this daemon, and how long another may be silent. */
  readonly hosts: Pick<LostHostsDeps, "hostId" | "pinnedHostLostMs">;
  readonly registry: PipelineRegistry;
  /** Reads the gate of a run that ended well while its item stayed behind. */
  readonly finaliser: Pick<Finaliser, "finalise">;
  readonly alert: RaiseAlert;
  /** Most items of one page. Default 100. */
  readonly pageSize?: number | undefined;
  /** Most items handled in one tick; the next tick continues behind them. Default 1000. */
  readonly itemsMax?: number | undefined;
}

type Handled = "settled" | "lost" | "waiting";

/** The wait for an unreadable gate counts from the first failed reading of this process. */
interface GateMemory {
  readonly visitId: VisitId;
  readonly pendingAt: Instant;
  readonly readAgainAt: Instant;
}

const actor = "reconciler";
/** Items handled at once, so that one slow gate delays few others. */
const gatesAtOnce = 4;

/**
 * Moves, redrives or ends active items whose visit has no unfinished job, which nothing else would move; each verb is guarded by the visit.
 * An alert tells of each, because something was lost before. Also holds jobs of undeclared stages.
 */
export class Reconciler implements Loop<"reconciler"> {
  readonly name = "reconciler";
  readonly #deps: ReconcilerDeps;
  readonly #pageSize: number;
  readonly #itemsMax: number;
  readonly #undeclared: UndeclaredStages;
  readonly #lostHosts: LostHosts;
  readonly #gates = new Map<ItemId, GateMemory>();
  /** The last alert of each item; dropped when the item is no longer stranded. */
  readonly #told = new Map<ItemId, string>();
  readonly #counts = { redriven: 0, advanced: 0, ended: 0, held: 0, slots_corrected: 0 };
  #after: ItemId | undefined;

  constructor(deps: ReconcilerDeps) {
    const { store, registry, hosts, alert, pageSize = 100, itemsMax = 1000 } = deps;
    this.#deps = deps;
    this.#pageSize = pageSize;
    this.#itemsMax = itemsMax;
    this.#undeclared = new UndeclaredStages({
      store,
      registry,
      stored: new StoredStages(registry, store.items),
      alert,
      pageSize,
      jobsMax: itemsMax,
    });
    this.#lostHosts = new LostHosts({ store, ...hosts, alert, jobsMax: itemsMax });
  }

  details(): LoopReports["reconciler"] {
    return { ...this.#counts, stranded: this.#told.size, gates_waiting: this.#gates.size };
  }

  async tick(context: TickContext): Promise<TickReport> {
    const { dryRun, now } = context;
    await this.#undeclared.look(now);
    const looked = await this.#lookAtStranded(context);
    if (!dryRun) await this.#recount(context);
    const waiting = await this.#undeclared.hold(context);
    const lost = await this.#lostHosts.look(context);
    this.#counts.held += waiting.held;
    if (!dryRun) await this.#undeclared.tellUnserved(now);
    return {
      seen: looked.seen + waiting.seen + lost.seen,
      settled: looked.settled + waiting.held + lost.settled,
      lost: looked.lost + waiting.lost,
      failed: looked.failed + waiting.failed + lost.failed,
      would: dryRun ? [...looked.would, ...waiting.would, ...lost.would] : undefined,
      // Where none could be held, as on a full disk, an immediate tick would only read the same jobs.
      nextInMs: looked.more || (waiting.more && waiting.held > 0) ? 0 : undefined,
    };
  }

  /** Continues where the last tick stopped. */
  async #lookAtStranded(context: TickContext): Promise<Looked> {
    const { dryRun, signal } = context;
    const looked: Looked = { seen: 0, settled: 0, lost: 0, failed: 0, more: true, would: [] };
    const stranded = new Set<ItemId>();
    let cursor = dryRun ? undefined : this.#after;
    const wholeRound = cursor === undefined;
    while (looked.more && looked.seen < this.#itemsMax && !signal.aborted) {
      const page = await this.#deps.store.items.listStranded({ limit: this.#pageSize, after: cursor });
      for (const { item } of page) stranded.add(item.id);
      await eachLimit(page, { count: gatesAtOnce, signal }, async (each) => await this.#lookAt(each, looked, context));
      looked.more = page.length === this.#pageSize;
      cursor = looked.more ? page.at(-1)?.item.id : undefined;
    }
    if (!dryRun && !signal.aborted) this.#after = cursor;
    if (wholeRound && !looked.more && !signal.aborted) this.#forgetAllBut(stranded);
    return looked;
  }

  async #lookAt(stranded: StrandedItem, looked: Looked, context: TickContext): Promise<void> {
    looked.seen += 1;
    if (context.dryRun) {
      looked.would.push(describe(stranded));
      return;
    }
    try {
      const handled = await this.#handle(stranded, context);
      if (handled !== "waiting") looked[handled] += 1;
    } catch (thrown) {
      looked.failed += 1;
      context.emit("loop.subject_failed", { loop: "reconciler", subject: `item ${stranded.item.id}`, message: messageOf(thrown) });
    }
  }

  #forgetAllBut(stranded: ReadonlySet<ItemId>): void {
    for (const known of [...this.#told.keys(), ...this.#gates.keys()]) {
      if (stranded.has(known)) continue;
      this.#told.delete(known);
      this.#gates.delete(known);
    }
  }

  async #handle(stranded: StrandedItem, context: TickContext): Promise<Handled> {
    const { item } = stranded;
    if (this.#deps.registry.entry(item.pipeline, item.stage) === undefined) {
      // Applies whatever its job says: without a definition there is no gate to read and no stage to run again.
      const job = judgeStranded(stranded);
      if (job.kind === "end") return await this.#end(stranded, job, context);
      // Another daemon of this store knows the stage, and its reconciler looks after the item.
      if (this.#undeclared.isElsewhere(item)) return "waiting";
      return await this.#tell(
        stranded,
        `stage ${item.stage} of pipeline ${item.pipeline} is not declared any more: declare it again, or cancel the item`,
        context,
      );
    }
    return await this.#act(stranded, judgeStranded(stranded), context);
  }

  async #act(stranded: StrandedItem, verdict: StrandedVerdict, context: TickContext): Promise<Handled> {
    switch (verdict.kind) {
      case "alert":
        return await this.#tell(stranded, verdict.reason, context);
      case "end":
        return await this.#end(stranded, verdict, context);
      case "redrive":
        return await this.#redrive(stranded, verdict.reason, context);
      case "read_gate":
        // The files are on another disk, where its own reconciler reads them.
        if (stranded.item.hostId !== null && stranded.item.hostId !== this.#deps.hosts.hostId) return "waiting";
        return await this.#passIfGreen(stranded, verdict, context);
    }
  }

  async #redrive(stranded: StrandedItem, reason: string, context: TickContext): Promise<Handled> {
    const { item, visit } = stranded;
    const entry = this.#deps.registry.entry(item.pipeline, item.stage);
    if (entry === undefined) return "lost";
    const onExhausted = this.#deps.registry.stageOfQueue(entry.queue)?.stage.onExhausted ?? "hold";
    const became = await this.#deps.store.items.redrive(item.id, { visitId: visit.id, entry, onExhausted, actor, reason });
    switch (became) {
      case undefined:
        return "lost";
      case "queued":
        this.#counts.redriven += 1;
        await this.#acted(stranded, { action: "redriven", what: `given a job again: ${reason}` }, context);
        return "settled";
      case "held":
        // The store has raised the job's alert in the same transaction.
        this.#counts.held += 1;
        context.emit("item.recovered", {
          itemId: item.id,
          stage: item.stage,
          action: "held",
          reason: `given a job that is held: ${reason}`,
        });
        return "settled";
      case "failed":
        return await this.#ended(
          stranded,
          { state: "failed", reason: `${reason}, and its ${visit.maxAttempts} attempts are spent` },
          context,
        );
    }
  }

  async #end(stranded: StrandedItem, verdict: Extract<StrandedVerdict, { kind: "end" }>, context: TickContext): Promise<Handled> {
    const { item, visit } = stranded;
    const { state, reason } = verdict;
    if (!(await this.#deps.store.items.end(item.id, { visitId: visit.id, state, actor, reason }))) return "lost";
    return await this.#ended(stranded, verdict, context);
  }

  async #ended(
    stranded: StrandedItem,
    { state, reason }: { readonly state: "failed" | "cancelled"; readonly reason: string },
    context: TickContext,
  ): Promise<Handled> {
    const { item } = stranded;
    this.#counts.ended += 1;
    tellItemStep(context.emit, { kind: state, itemId: item.id }, reason);
    await this.#acted(stranded, { action: "ended", what: `ended as ${state}: ${reason}` }, context);
    return "settled";
  }

  async #passIfGreen(
    stranded: StrandedItem,
    { run, reason }: { readonly run: LiveRun; readonly reason: string },
    context: TickContext,
  ): Promise<Handled> {
    const { item, visit } = stranded;
    const memory = this.#gates.get(item.id);
    const pending = memory?.visitId === visit.id ? memory : undefined;
    if (pending !== undefined && pending.readAgainAt > context.now) return "waiting";
    const finalised = await this.#deps.finaliser.finalise(
      { ...run, gatePendingAt: pending?.pendingAt ?? null },
      { actor, signal: context.signal },
    );
    // The gate was not read because the loop stops: nothing follows.
    if (context.signal.aborted) return "waiting";
    if (finalised.kind === "wait") {
      this.#gates.set(item.id, { visitId: visit.id, pendingAt: pending?.pendingAt ?? context.now, readAgainAt: finalised.readAgainAt });
      return "waiting";
    }
    this.#gates.delete(item.id);
    const { settlement } = finalised;
    if (settlement.outcome === "succeeded") {
      return settlement.advance === undefined ? "lost" : await this.#advance(stranded, { advance: settlement.advance, reason }, context);
    }
    return settlement.disposition === "hold"
      ? await this.#tell(stranded, settlement.message, context)
      : await this.#redrive(stranded, settlement.message, context);
  }

  async #advance(
    stranded: StrandedItem,
    move: { readonly advance: Advance; readonly reason: string },
    context: TickContext,
  ): Promise<Handled> {
    const { item, visit } = stranded;
    if (!(await this.#deps.store.items.advance(item.id, { visitId: visit.id, ...move, actor }))) return "lost";
    this.#counts.advanced += 1;
    const to = move.advance.kind === "next" ? move.advance.stage : null;
    const ref = { itemId: item.id, from: item.stage };
    tellItemStep(context.emit, to === null ? { kind: "finished", ...ref } : { kind: "advanced", ...ref, to }, move.reason);
    await this.#acted(stranded, { action: "advanced", what: `moved on to ${to ?? "its end"}: ${move.reason}` }, context);
    return "settled";
  }

  async #acted(
    stranded: StrandedItem,
    { action, what }: { readonly action: "redriven" | "advanced" | "ended"; readonly what: string },
    context: TickContext,
  ): Promise<void> {
    const { item } = stranded;
    context.emit("item.recovered", { itemId: item.id, stage: item.stage, action, reason: what });
    await this.#alert(stranded, {
      cause: `reconciler.acted:${item.id}:${stranded.visit.id}`,
      title: `Item ${item.key} was stranded in ${item.stage} and ${what}`,
    });
  }

  async #tell(stranded: StrandedItem, reason: string, { dryRun }: TickContext): Promise<Handled> {
    const { item, visit } = stranded;
    const words = `${visit.id} ${reason}`;
    if (dryRun || this.#told.get(item.id) === words) return "waiting";
    const isTold = await this.#alert(stranded, {
      cause: `reconciler.stranded:${item.id}:${visit.id}`,
      title: `Item ${item.key} is stranded in ${item.stage}: ${reason}`,
    });
    if (isTold) this.#told.set(item.id, words);
    return "waiting";
  }

  async #alert({ item, visit }: StrandedItem, { cause, title }: { readonly cause: string; readonly title: string }): Promise<boolean> {
    const details = { itemId: item.id, visitId: visit.id, pipeline: item.pipeline, stage: item.stage, key: item.key };
    return await this.#deps.alert({ cause, title, details });
  }

  async #recount({ emit }: TickContext): Promise<void> {
    const wrong = await this.#deps.store.upkeep.recountSlots();
    this.#counts.slots_corrected += wrong.length;
    if (wrong.length > 0)
      emit("defect.found", { where: "slots", message: `the use of ${wrong.join(", ")} was counted wrongly and is corrected` });
  }
}

/** What one tick did with stranded items. */
interface Looked {
  seen: number;
  settled: number;
  lost: number;
  failed: number;
  /** More items are left than the tick could handle. */
  more: boolean;
  /** What a dry run would have done. */
  readonly would: string[];
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
  readonly host: Pick<Host, "identity">;
  readonly tell: Tell;
  readonly settings: () => LoopSwitch<"reconciler"> & Pick<LoopSettings, "recovery">;
}

export const reconcilerSpec: LoopSpec<"reconciler", ReconcilerParts> = {
  name: "reconciler",
  kind: "guarded",
  intervalMs: () => seconds(10),
  enabled: ownSwitch("reconciler"),
  wokenBy: [],
  build: ({ store, registry, settling, host, tell, settings }) =>
    new Reconciler({
      store,
      registry,
      hosts: { hostId: host.identity.hostId, pinnedHostLostMs: () => settings().recovery.pinnedHostLostMs },
      finaliser: settling.finaliser,
      alert: tell.alert,
    }),
};
