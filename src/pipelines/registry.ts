import type { StageEntry } from "../store/port/items.ts";
import type { QueueSpec } from "../store/port/jobs.ts";
import type { Advance } from "../store/port/runs.ts";
import { deepFreeze, type PipelineDefinition, type StageDefinition, stageChain, versionOf } from "./definition.ts";

export interface RegisteredPipeline {
  readonly definition: PipelineDefinition;
  readonly version: string;
}

/** The queue of a stage: stages of different pipelines never share one. */
const queueOfStage = (pipeline: string, stage: string): string => `${pipeline}/${stage}`;

/**
 * The stage that a queue's name stands for, declared or not. Undefined for a task, unless its name looks the same; no item waits in such a
 * queue.
 */
export function stageNamedBy(queue: string): { readonly pipeline: string; readonly stage: string } | undefined {
  const at = queue.indexOf("/");
  return at === -1 ? undefined : { pipeline: queue.slice(0, at), stage: queue.slice(at + 1) };
}

/** The pipelines this process was started with: their stages, the order of these, and the queues. */
export class PipelineRegistry {
  readonly #pipelines = new Map<string, RegisteredPipeline>();
  readonly #stages = new Map<string, { readonly pipeline: string; readonly stage: StageDefinition }>();

  constructor(definitions: readonly PipelineDefinition[]) {
    for (const definition of definitions) {
      this.#pipelines.set(definition.name, { definition: deepFreeze(definition), version: versionOf(definition) });
      for (const stage of stageChain(definition)) {
        this.#stages.set(queueOfStage(definition.name, stage.name), { pipeline: definition.name, stage });
      }
    }
  }

  all(): readonly RegisteredPipeline[] {
    return [...this.#pipelines.values()];
  }

  get(pipeline: string): RegisteredPipeline | undefined {
    return this.#pipelines.get(pipeline);
  }

  stage(pipeline: string, stage: string): StageDefinition | undefined {
    return this.#stages.get(queueOfStage(pipeline, stage))?.stage;
  }

  /** The stage that a queue serves; undefined for plain tasks. */
  stageOfQueue(queue: string): { readonly pipeline: string; readonly stage: StageDefinition } | undefined {
    return this.#stages.get(queue);
  }

  /** What an item needs to enter `stage` under the newest version; undefined when the pipeline or stage is not declared. */
  entry(pipeline: string, stage: string): StageEntry | undefined {
    const registered = this.#pipelines.get(pipeline);
    const definition = this.stage(pipeline, stage);
    if (registered === undefined || definition === undefined) return undefined;
    return {
      kind: "next",
      stage,
      queue: queueOfStage(pipeline, stage),
      maxAttempts: definition.attempts,
      maxLosses: definition.maxLosses ?? null,
      priority: definition.priority,
      agent: definition.labels.agent ?? null,
      repo: definition.labels.repo,
      pipelineVersion: registered.version,
    };
  }

  /** How an item that passed `stage` moves on; undefined when the stage, or the one after it, is not declared. */
  advanceFrom(pipeline: string, stage: string): Advance | undefined {
    const definition = this.stage(pipeline, stage);
    if (definition === undefined) return undefined;
    return definition.next === null ? { kind: "finish" } : this.entry(pipeline, definition.next);
  }

  /** The stages from `stage` to the end, whose earlier visits a rerun from it no longer counts. */
  stagesFrom(pipeline: string, stage: string): readonly string[] {
    const registered = this.#pipelines.get(pipeline);
    if (registered === undefined) return [];
    const names = stageChain(registered.definition).map((each) => each.name);
    const at = names.indexOf(stage);
    return at === -1 ? [] : names.slice(at);
  }

  queues(): readonly QueueSpec[] {
    return [...this.#stages].map(([name, { stage }]) => ({
      name,
      kind: stage.run.kind,
      slot: stage.concurrency === undefined ? undefined : { key: stage.concurrencyKey, capacity: stage.concurrency },
    }));
  }
}
