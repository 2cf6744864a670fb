import { messageOf } from "../../domain/errors.ts";
import type { ItemId } from "../../domain/ids.ts";
import { type DurationMs, type Instant, minutes } from "../../domain/time.ts";
import type { RaiseAlert } from "../../notify/raise-alert.ts";
import type { StoredStages } from "../../pipelines/reading/stored-stages.ts";
import { type PipelineRegistry, stageNamedBy } from "../../pipelines/registry.ts";
import type { WaitingJob } from "../../store/port/jobs.ts";
import type { Store } from "../../store/port/store.ts";
import type { TickContext } from "../skeleton/loop.ts";

export interface UndeclaredStagesDeps {
  readonly store: Pick<Store, "items" | "jobs" | "workers">;
  readonly registry: PipelineRegistry;
  readonly stored: StoredStages;
  readonly alert: RaiseAlert;
  readonly pageSize: number;
  /** Most jobs handled in one tick. */
  readonly jobsMax: number;
}

export interface HeldReport {
  readonly seen: number;
  readonly held: number;
  readonly lost: number;
  readonly failed: number;
  /** What a dry run would have done. */
  readonly would: readonly string[];
  /** More jobs wait than one tick may handle. */
  readonly more: boolean;
}

interface Stage {
  readonly pipeline: string;
  readonly stage: string;
}

/** Bounded, because an embedded engine nests one condition inside the next. */
const stagesPerQuery = 100;
/** How long a stage that another daemon declares may go unserved before a person is told: longer than any restart. */
const unservedMaxMs: DurationMs = minutes(5);

/**
 * Holds jobs that wait for a stage which nothing declares: no worker will ever claim them. What counts as declared on a shared store:
 * docs/pipelines.md, "Changing a pipeline".
 */
export class UndeclaredStages {
  readonly #deps: UndeclaredStagesDeps;
  /** Stages that nothing declares, as of the last look. */
  #vanished: readonly Stage[] = [];
  /** Stages of other daemons that no live session serves, by queue, and since when. */
  readonly #unserved = new Map<string, Stage & { readonly since: Instant; told: boolean }>();
  #elsewhere: ReadonlySet<string> = new Set();

  constructor(deps: UndeclaredStagesDeps) {
    this.#deps = deps;
  }

  /** Reads what is declared now, here and elsewhere. One small read where every known queue is this daemon's. */
  async look(now: Instant): Promise<void> {
    const { store, registry, stored } = this.#deps;
    const foreign = (await store.jobs.listQueues()).flatMap((queue) => {
      const named = registry.stageOfQueue(queue) === undefined ? stageNamedBy(queue) : undefined;
      return named === undefined ? [] : [{ queue, ...named }];
    });
    const served = foreign.length === 0 ? new Set() : new Set((await store.workers.listAlive()).flatMap(({ queues }) => queues));
    const unserved = foreign.filter(({ queue }) => !served.has(queue));
    const others = await stored.declaredElsewhere(unserved);
    for (const { queue, pipeline, stage } of others) {
      if (!this.#unserved.has(queue)) this.#unserved.set(queue, { pipeline, stage, since: now, told: false });
    }
    const waitedFor = new Set([...others].map(({ queue }) => queue));
    for (const queue of this.#unserved.keys()) if (!waitedFor.has(queue)) this.#unserved.delete(queue);
    this.#vanished = unserved.filter((stage) => !others.has(stage));
    this.#elsewhere = new Set(foreign.map(({ queue }) => queue).filter((queue) => served.has(queue) || waitedFor.has(queue)));
  }

  /** Whether other daemons look after the stage, as of the last look. */
  isElsewhere({ pipeline, stage }: Stage): boolean {
    return this.#elsewhere.has(`${pipeline}/${stage}`);
  }

  /**
   * Holds the jobs of vanished stages, as of the last look. One failure stops no other job. A stage declared again at this moment may leave
   * a held job, whose alert says what to do.
   */
  async hold(context: TickContext): Promise<HeldReport> {
    const report = { seen: 0, held: 0, lost: 0, failed: 0, would: [] as string[], more: false };
    for (let from = 0; from < this.#vanished.length; from += stagesPerQuery) {
      await this.#holdWaiting(this.#vanished.slice(from, from + stagesPerQuery), report, context);
    }
    return report;
  }

  async #holdWaiting(stages: readonly Stage[], report: HeldCounts, context: TickContext): Promise<void> {
    const { store, pageSize, jobsMax } = this.#deps;
    let after: ItemId | undefined;
    while (!context.signal.aborted) {
      if (report.seen >= jobsMax) {
        report.more = true;
        return;
      }
      const page = await store.jobs.listWaiting({ stages, limit: pageSize, after });
      for (const waiting of page) {
        report.seen += 1;
        if (context.dryRun) report.would.push(`job ${waiting.jobId}: hold it, because ${this.#vanishedText(waiting)}`);
        else await this.#holdOne(waiting, report, context);
      }
      after = page.at(-1)?.itemId;
      if (page.length < pageSize) return;
    }
  }

  async #holdOne(waiting: WaitingJob, report: HeldCounts, context: TickContext): Promise<void> {
    const { jobId, pipeline, stage } = waiting;
    const message = `${this.#vanishedText(waiting)}: declare it again, then \`wakeful unhold job:${jobId}\`; or \`wakeful cancel job:${jobId}\``;
    const reason = "stage_undeclared";
    try {
      const answer = await this.#deps.store.jobs.hold(jobId, { actor: "reconciler", reason, message });
      if (answer.kind !== "held") {
        report.lost += 1;
        return;
      }
      report.held += 1;
      context.emit("job.held", { jobId, queue: `${pipeline}/${stage}`, actor: "reconciler", reason, message });
    } catch (thrown) {
      report.failed += 1;
      context.emit("loop.subject_failed", { loop: "reconciler", subject: `job ${jobId}`, message: messageOf(thrown) });
    }
  }

  /** Alerts on jobs whose daemon has been away for long: nothing is wrong with them, so no other rule reports them. */
  async tellUnserved(now: Instant): Promise<void> {
    const { store, alert } = this.#deps;
    for (const unserved of this.#unserved.values()) {
      const { pipeline, stage, since, told } = unserved;
      if (told || now - since < unservedMaxMs) continue;
      if ((await store.jobs.listWaiting({ stages: [{ pipeline, stage }], limit: 1 })).length === 0) continue;
      const title = `Items wait in stage ${stage} of pipeline ${pipeline}, which another daemon declares and no live worker serves: start that daemon`;
      unserved.told = await alert({ cause: `stage.unserved:${pipeline}/${stage}`, title, details: { pipeline, stage } });
    }
  }

  #vanishedText({ pipeline, stage }: Stage): string {
    return this.#deps.registry.get(pipeline) === undefined
      ? `pipeline ${pipeline}, and with it stage ${stage}, is not declared any more`
      : `stage ${stage} of pipeline ${pipeline} is not declared any more`;
  }
}

type HeldCounts = { -readonly [Key in keyof HeldReport]: Key extends "would" ? string[] : HeldReport[Key] };
