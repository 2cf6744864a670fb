import { readFileSync } from "node:fs";
import { join } from "node:path";
import { directAccess } from "../../src/files/foreign/path-operation.ts";
import { SourceKeeper } from "../../src/item-files/kept-source.ts";
import { createStateFileDeliverer } from "../../src/item-files/state-file.ts";
import type { PipelineDefinition } from "../../src/pipelines/definition.ts";
import type { ItemRow } from "../../src/store/port/items.ts";
import type { RunLimits } from "../../src/store/port/runs.ts";
import { declaredLimits } from "../../src/worker/commands/command-run-deps.ts";
import { RepairWorld, type StartedRun } from "./repair-world.ts";

/** The stale check as production makes it: the job-reaper over the store, and what it leaves behind in `state.json`. */
export class HeartbeatCheck {
  readonly world: RepairWorld;

  private constructor(world: RepairWorld) {
    this.world = world;
  }

  static async of(...pipelines: readonly PipelineDefinition[]): Promise<HeartbeatCheck> {
    return new HeartbeatCheck(await RepairWorld.open(pipelines));
  }

  /** Starts what the stage has waiting, with a first heartbeat unless it is to have none. Its limits are the stage's, or those given. */
  async start(queue: string, options: { readonly limits?: RunLimits | undefined; readonly beat?: boolean } = {}): Promise<StartedRun> {
    const stage = this.world.world.registry.stageOfQueue(queue)?.stage;
    if (stage === undefined) throw new Error(`no stage has the queue ${queue}`);
    const run = await this.world.start({ queue, limits: options.limits ?? declaredLimits(stage) });
    if (options.beat !== false) await this.beat(run);
    return run;
  }

  /** An item that enters the pipeline at this stage. */
  async itemAt(pipeline: string, stage: string, key = "book"): Promise<ItemRow> {
    const first = this.world.world.registry.entry(pipeline, stage);
    if (first === undefined) throw new Error(`there is no stage ${stage} in ${pipeline}`);
    return (await this.world.store.items.add({ pipeline, key, dir: key, input: "{}", first, actor: "test" })).item;
  }

  async beat({ runId }: StartedRun): Promise<void> {
    await this.world.store.runs.beat([{ runId, at: this.world.now }]);
  }

  /** One tick, and the state files that follow from it. */
  async tick(): Promise<void> {
    await this.world.tick();
    await this.deliver();
  }

  async deliver(): Promise<void> {
    const { store, registry, paths, baseDir } = this.world.world;
    const sources = new SourceKeeper({ registry, access: directAccess, workDir: paths.workDir, baseDir });
    const deliverer = createStateFileDeliverer({ store, registry, workDir: paths.workDir, sources });
    for (const entry of await store.outbox.due(100)) {
      if (entry.kind !== "state-file") continue;
      await deliverer.deliver(entry, new AbortController().signal);
      await store.outbox.done(entry);
    }
  }

  pathOf(item: ItemRow): string {
    return join(this.world.world.paths.workDir, item.dir, "state.json");
  }

  state(item: ItemRow): Record<string, unknown> {
    return JSON.parse(readFileSync(this.pathOf(item), "utf8")) as Record<string, unknown>;
  }
}
