import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "@photostructure/sqlite";
import { onTestFinished } from "vitest";
import type { DurationMs } from "../../src/domain/time.ts";
import { type DataPaths, dataPaths } from "../../src/files/data-paths.ts";
import type { Loop, TickReport } from "../../src/loops/skeleton/loop.ts";
import { alertsThrough, type RaiseAlert } from "../../src/notify/raise-alert.ts";
import type { IntakeDefinition, PipelineDefinition, StageDefinition } from "../../src/pipelines/definition.ts";
import { PipelineRegistry } from "../../src/pipelines/registry.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { Store } from "../../src/store/port/store.ts";
import type { Emit, EventName, WakefulEvents } from "../../src/telemetry/events.ts";
import { stageOf } from "./stage-of.ts";
import { StoreTestClock } from "./stores.ts";
import { tempDir } from "./temp-dir.ts";

/** What a loop of the daemon needs, in a folder of the test's own: an embedded store, a clock that the test moves, and a list of events. */
export interface LoopWorld {
  /** Where wakeful.yaml would be. */
  readonly baseDir: string;
  readonly paths: DataPaths;
  readonly store: Store;
  readonly clock: StoreTestClock;
  readonly registry: PipelineRegistry;
  /** As a daemon raises alerts. */
  readonly alert: RaiseAlert;
  readonly events: { readonly name: EventName; readonly data: WakefulEvents[EventName] }[];
  /** One tick at the clock's instant. */
  tick(loop: Loop, options?: { readonly dryRun?: boolean; readonly enabled?: boolean }): Promise<TickReport>;
  eventsOf<Name extends EventName>(name: Name): WakefulEvents[Name][];
  /** Changes the database past the store, as a person, a restore or a defect may do. */
  sql(text: string): void;
}

/**
 * @param options.inMemory - no file: faster, and without {@link LoopWorld.sql}.
 * @param options.url - of an empty database of a server, instead.
 */
export async function loopWorld(
  pipelines: readonly PipelineDefinition[] = [chain("p", ["prep", "ocr"])],
  { inMemory = false, url }: { readonly inMemory?: boolean; readonly url?: string } = {},
): Promise<LoopWorld> {
  const baseDir = tempDir("loops");
  const paths = dataPaths(join(baseDir, "data"));
  for (const dir of [paths.workDir, paths.runsDir]) mkdirSync(dir, { recursive: true, mode: 0o700 });
  const clock = new StoreTestClock();
  const store = await openStore({
    url: url ?? (inMemory ? ":memory:" : join(paths.dataDir, "wakeful.db")),
    clock,
    synchronous: "normal",
    lock: false,
  });
  onTestFinished(() => store.close());
  const registry = new PipelineRegistry(pipelines);
  await store.jobs.ensureQueues(registry.queues());
  for (const { definition, version } of registry.all()) {
    await store.items.putPipeline({ pipeline: definition.name, hash: version, definition: JSON.stringify(definition) });
  }
  const events: { name: EventName; data: WakefulEvents[EventName] }[] = [];
  const emit: Emit = (name, data) => {
    events.push({ name, data });
  };
  return {
    baseDir,
    paths,
    store,
    clock,
    registry,
    alert: alertsThrough({ outbox: store.outbox, emit }),
    events,
    tick: async (loop, { dryRun = false, enabled = true } = {}) =>
      await loop.tick({
        now: clock.now(),
        signal: new AbortController().signal,
        enabled,
        dryRun,
        emit,
      }),
    eventsOf: <Name extends EventName>(name: Name) =>
      events.filter((event) => event.name === name).map((event) => event.data as WakefulEvents[Name]),
    sql: (text) => {
      const db = new DatabaseSync(join(paths.dataDir, "wakeful.db"));
      db.exec(text);
      db.close();
    },
  };
}

const second: DurationMs = 1_000;

/** A pipeline whose stages follow each other in the order given. */
export function chain(
  name: string,
  stages: readonly string[],
  options: { readonly intake?: Partial<IntakeDefinition>; readonly stage?: Partial<StageDefinition> } = {},
): PipelineDefinition {
  const definitions = stages.map(
    (stage, index): StageDefinition =>
      stageOf(stage, {
        heartbeat: { timeoutMs: 600 * second, from: "file" },
        retry: { minMs: second, maxMs: 300 * second, factor: 2 },
        concurrencyKey: `${name}.${stage}`,
        next: stages[index + 1] ?? null,
        ...options.stage,
      }),
  );
  return {
    name,
    intake: options.intake === undefined ? undefined : intakeDefinition(options.intake),
    stages: Object.fromEntries(definitions.map((stage) => [stage.name, stage])),
    first: stages[0] ?? "",
  };
}

export function intakeDefinition(overrides: Partial<IntakeDefinition> = {}): IntakeDefinition {
  return {
    watch: "in",
    match: ["*.cbz"],
    profile: { lang: "eng" },
    maxBytes: 1_000_000,
    minStableMs: 2 * second,
    diskFreeFactor: 2,
    errorDir: "error",
    archiveDir: "archive",
    duplicates: "hold",
    ...overrides,
  };
}
