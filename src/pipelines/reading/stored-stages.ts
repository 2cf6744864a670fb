import type { ItemsStore, StageEntry } from "../../store/port/items.ts";
import type { Advance, LiveRun } from "../../store/port/runs.ts";
import type { PipelineDefinition, StageDefinition } from "../definition.ts";
import { PipelineRegistry } from "../registry.ts";
import { neutralStage } from "./neutral-stage.ts";

/** Where stored versions are read. A process that serves only its own stages has none. */
export type VersionSource = Partial<Pick<ItemsStore, "getPipeline" | "declaredPipelines">>;

interface StoredVersion {
  readonly hash: string;
  readonly stages: PipelineRegistry;
}

/** Versions are few and small; past this many the cache is cleared. */
const rememberedMax = 100;

/**
 * Stages as this process declares them, else as the store keeps them: a run's version outlives its configuration, and other daemons of a
 * shared store may declare other stages.
 */
export class StoredStages {
  readonly #registry: PipelineRegistry;
  readonly #versions: VersionSource;
  readonly #read = new Map<string, StoredVersion | undefined>();

  constructor(registry: PipelineRegistry, versions: VersionSource) {
    this.#registry = registry;
    this.#versions = versions;
  }

  /** The stage of a run's queue: as declared, else by the version under which its item entered it. Undefined: unknown. */
  async stageOf(run: Pick<LiveRun, "queue" | "pipeline" | "pipelineVersion">): Promise<StageDefinition | undefined> {
    return this.#registry.stageOfQueue(run.queue)?.stage ?? (await this.storedStageOf(run));
  }

  /** The stage of a run's queue by the version under which its item entered it, whatever is declared now. Undefined: unknown. */
  async storedStageOf({
    queue,
    pipeline,
    pipelineVersion,
  }: Pick<LiveRun, "queue" | "pipeline" | "pipelineVersion">): Promise<StageDefinition | undefined> {
    if (pipeline === null || pipelineVersion === null) return undefined;
    return (await this.#version(pipeline, pipelineVersion))?.stages.stageOfQueue(queue)?.stage;
  }

  /** How an item that passed `stage` moves on; undefined when no daemon declares the next stage. */
  async advanceFrom(pipeline: string, stage: StageDefinition): Promise<Advance | undefined> {
    if (stage.next === null) return { kind: "finish" };
    return this.#registry.entry(pipeline, stage.next) ?? (await this.#entryElsewhere(pipeline, stage.next));
  }

  /**
   * Those of these stages that another daemon declares: it declares the pipeline, whose newest stored version has the stage. A stopped
   * daemon counts, because it returns with its configuration.
   */
  async declaredElsewhere<S extends { readonly pipeline: string; readonly stage: string }>(stages: readonly S[]): Promise<ReadonlySet<S>> {
    const declared = new Set(stages.length === 0 ? [] : await this.#versions.declaredPipelines?.());
    const newest = new Map<string, StoredVersion | undefined>();
    for (const { pipeline } of stages) {
      if (declared.has(pipeline) && !newest.has(pipeline)) newest.set(pipeline, await this.#version(pipeline));
    }
    return new Set(stages.filter(({ pipeline, stage }) => newest.get(pipeline)?.stages.stage(pipeline, stage) !== undefined));
  }

  async #entryElsewhere(pipeline: string, stage: string): Promise<StageEntry | undefined> {
    const declared = await this.#versions.declaredPipelines?.();
    if (declared?.includes(pipeline) !== true) return undefined;
    const newest = await this.#version(pipeline);
    const entry = newest?.stages.entry(pipeline, stage);
    return newest === undefined || entry === undefined ? undefined : { ...entry, pipelineVersion: newest.hash };
  }

  async #version(pipeline: string, hash?: string): Promise<StoredVersion | undefined> {
    const known = hash === undefined ? undefined : this.#read.get(`${pipeline} ${hash}`);
    if (known !== undefined) return known;
    const stored = await this.#versions.getPipeline?.(pipeline, hash);
    if (stored === undefined) return undefined;
    const key = `${pipeline} ${stored.hash}`;
    if (!this.#read.has(key)) {
      if (this.#read.size >= rememberedMax) this.#read.clear();
      this.#read.set(key, readVersion(pipeline, stored));
    }
    return this.#read.get(key);
  }
}

/** Another release may have written it: missing parts are neutral, and an unreadable version counts as none. */
function readVersion(
  pipeline: string,
  { hash, definition }: { readonly hash: string; readonly definition: string },
): StoredVersion | undefined {
  try {
    const stored = JSON.parse(definition) as PipelineDefinition;
    const stages = Object.fromEntries(
      Object.entries(stored.stages).map(([name, stage]) => [name, { ...neutralStage({ pipeline, stage: name }), ...stage, name }]),
    );
    return { hash, stages: new PipelineRegistry([{ ...stored, name: pipeline, stages }]) };
  } catch {
    // Callers continue as if no version were stored; nothing is ever ended for that.
    return undefined;
  }
}
