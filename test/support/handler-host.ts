import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { onTestFinished } from "vitest";
import { alertsThrough } from "../../src/notify/raise-alert.ts";
import type { PipelineDefinition } from "../../src/pipelines/definition.ts";
import { PipelineRegistry } from "../../src/pipelines/registry.ts";
import { readHostIdentity } from "../../src/processes/probe/host-identity.ts";
import type { HostIdentity } from "../../src/processes/probe/identity.ts";
import { type ProcessTable, systemProcessTable } from "../../src/processes/probe/process-table.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { Store } from "../../src/store/port/store.ts";
import type { Emit } from "../../src/telemetry/events.ts";
import { type HandlerHostOptions, HandlerHostProcess } from "../../src/worker/handler-host/handler-host-process.ts";
import { enderOf } from "./ender.ts";
import type { SeenEvent } from "./handler-bench.ts";
import { tempDir } from "./temp-dir.ts";
import { makeTempDir } from "./temp-dir-maker.ts";
import { serviceOf } from "./worker-service.ts";

/** Bundles the handler host as a release has it. Call it once per file, in `beforeAll`; `remove` in `afterAll`. */
export async function bundleHandlerHost(): Promise<{ readonly program: string; readonly remove: () => void }> {
  const { path, remove } = makeTempDir("handler-host");
  const root = join(import.meta.dirname, "../..");
  await build({
    absWorkingDir: root,
    entryPoints: { "bin/handler-host": "src/bin/handler-host.ts", task: "src/worker/handlers/task.ts" },
    outdir: path,
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node20.19",
    outExtension: { ".js": ".mjs" },
    external: ["@photostructure/sqlite", "pg", "pg-native", "pino", "@opentelemetry/api"],
    logLevel: "silent",
  });
  return { program: join(path, "bin/handler-host.mjs"), remove };
}

export interface HostBench {
  readonly store: Store;
  readonly dataDir: string;
  readonly host: HostIdentity;
  readonly table: ProcessTable;
  readonly events: SeenEvent[];
  readonly emit: Emit;
  readonly renewals: { readonly held: readonly number[]; readonly loopLagMs?: number | undefined }[];
  deaths: number;
  /** Writes the handlers module; `defineTask` is in its scope. */
  module(text: string): string;
  /** Into the data directory. */
  writeFile(name: string, text: string): void;
  process(
    overrides?: Partial<HandlerHostOptions["setup"]> & {
      readonly command?: HandlerHostOptions["program"]["command"];
      readonly mayClaim?: () => boolean;
      /** Default an hour. */
      readonly deadAfterMs?: number;
    },
  ): HandlerHostProcess;
}

/** A real store and a real data directory for real handler hosts; every host is killed when the test ends. */
export async function hostBench(program: string, pipelines: readonly PipelineDefinition[] = []): Promise<HostBench> {
  const dataDir = tempDir("host");
  const clock = systemClock();
  const store = await openStore({ url: ":memory:", clock: { now: () => Math.floor(clock.wall()) as ReturnType<Store["now"]> } });
  onTestFinished(() => store.close());
  const registry = new PipelineRegistry(pipelines);
  await store.jobs.ensureQueues(registry.queues());
  const host = await readHostIdentity({ stateDir: dataDir, randomId: () => `test-${process.pid}` });
  const table = systemProcessTable();
  const events: SeenEvent[] = [];
  const emit: Emit = (name, data) => events.push({ name, data });
  const renewals: { held: readonly number[]; loopLagMs?: number | undefined }[] = [];
  const modulePath = join(dataDir, "handlers.mjs");
  const bench: HostBench = {
    store,
    dataDir,
    host,
    table,
    events,
    emit,
    renewals,
    deaths: 0,
    module: (text) => {
      const task = JSON.stringify(join(program, "../../task.mjs"));
      writeFileSync(modulePath, `import { defineTask } from ${task};\n${text}`);
      return modulePath;
    },
    writeFile: (name, text) => writeFileSync(join(dataDir, name), text),
    process: ({ command = [process.execPath, program] as const, mayClaim = () => true, deadAfterMs = 3_600_000, ...setup } = {}) => {
      const made = new HandlerHostProcess({
        store,
        program: { command, environment: { PATH: process.env["PATH"] }, output: (text) => void process.stderr.write(text) },
        setup: {
          modulePath,
          pipelines,
          hostId: host.hostId,
          dataDir,
          baseDir: dataDir,
          concurrency: 4,
          outstandingMax: 20,
          renewMs: 50,
          renewTimeoutMs: 5_000,
          stopGraceMs: 2_000,
          killGraceMs: 500,
          pathHelper: undefined,
          pathTimeoutMs: 10_000,
          name: "handlers",
          ...setup,
        },
        host: { identity: host, table, clock },
        ender: enderOf({ store, registry, random: () => 0, emit }),
        service: serviceOf({ store, registry, emit, onRenewed: (renewal) => renewals.push(renewal) }),
        mayClaim,
        recovery: {
          deadAfterMs,
          recoverySpreadMs: 0,
          onDeath: () => {
            bench.deaths++;
          },
          restart: { firstMs: 20, maxMs: 200 },
        },
        tell: { emit, alert: alertsThrough({ outbox: store.outbox, emit }) },
      });
      onTestFinished(async () => {
        const identity = made.identity();
        const stopped = made.stop("abort");
        if (identity !== undefined) table.signal(identity.pid, "SIGKILL");
        await stopped;
      });
      return made;
    },
  };
  return bench;
}
