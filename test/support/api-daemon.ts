import type { FastifyInstance } from "fastify";
import { onTestFinished } from "vitest";
import { LiveSettings } from "../../src/config/live-settings.ts";
import { configSchema } from "../../src/config/schema.ts";
import { asHostId, type WorkerId } from "../../src/domain/ids.ts";
import { addMs, asInstant } from "../../src/domain/time.ts";
import { buildApp } from "../../src/http/app.ts";
import type { DaemonServices } from "../../src/http/services.ts";
import { Tokens } from "../../src/http/tokens.ts";
import { type LoopSnapshot, nothingSeen } from "../../src/loops/skeleton/loop.ts";
import { createSettingsEditor } from "../../src/operations/change-settings.ts";
import { Operations } from "../../src/operations/operations.ts";
import { PausedWorkers } from "../../src/operations/paused-workers.ts";
import type { PipelineDefinition } from "../../src/pipelines/definition.ts";
import { PipelineRegistry } from "../../src/pipelines/registry.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { ClaimedRun } from "../../src/store/port/runs.ts";
import { EventBus } from "../../src/telemetry/event-bus.ts";
import { adminToken } from "./admin-token.ts";
import { stageOf } from "./stage-of.ts";
import { tempDir } from "./temp-dir.ts";

export const comics: PipelineDefinition = {
  name: "comics",
  first: "prep",
  stages: { prep: stageOf("prep", { concurrency: 1, next: "ocr" }), ocr: stageOf("ocr", { env: { API_KEY: "hunter2" } }) },
};

/** A body as a test looks at it: the shape is what the test is about. */
// oxlint-disable-next-line typescript/no-explicit-any -- else every test would write down the shape that it checks
type Body = any;

export interface ApiDaemon {
  readonly app: FastifyInstance;
  readonly services: DaemonServices;
  readonly tokens: Tokens;
  /** Moves the store's clock. */
  readonly advance: (ms: number) => void;
  readonly worker: (queues?: readonly string[]) => Promise<WorkerId>;
  readonly claim: (workerId: WorkerId, queues: readonly string[]) => Promise<readonly ClaimedRun[]>;
  /** A request with the admin token, answered with status and parsed body. */
  readonly request: (
    method: "GET" | "POST",
    url: string,
    options?: { readonly body?: unknown; readonly headers?: Record<string, string> },
  ) => Promise<{ readonly status: number; readonly body: Body; readonly text: string }>;
}

export interface ApiDaemonOptions {
  readonly snapshots?: readonly LoopSnapshot[];
  readonly eventsKept?: number;
  readonly reasons?: string[];
  readonly change?: (services: DaemonServices) => DaemonServices;
}

/** The API over a real store in memory, without loops and workers: a test acts for those by hand. */
export async function apiDaemon(options: ApiDaemonOptions = {}): Promise<ApiDaemon> {
  let now = asInstant(Date.UTC(2026, 0, 1));
  const dataDir = tempDir("api");
  const store = await openStore({ url: ":memory:", clock: { now: () => now } });
  const registry = new PipelineRegistry([comics, { ...comics, name: "books" }]);
  await store.jobs.ensureQueues([...registry.queues(), { name: "mail", kind: "handler" }]);
  for (const { definition, version } of registry.all())
    await store.items.putPipeline({ pipeline: definition.name, hash: version, definition: JSON.stringify(definition) });
  const events = new EventBus(
    () => now,
    (thrown) => {
      throw thrown;
    },
  );
  let made = 0;
  const operations = new Operations({
    store,
    registry,
    emit: events.emit,
    newKey: () => `made-${++made}`,
    tasks: () => new Set(["mail"]),
    pausedWorkers: await PausedWorkers.open(store.upkeep),
    stopWithinMs: () => 17_000,
  });
  const plain: DaemonServices = {
    store,
    events,
    registry,
    operations,
    loops: {
      snapshots: () => options.snapshots ?? [],
      runOnce: async (_name, { dryRun }) => ({ ...nothingSeen, ...(dryRun ? { would: ["end run 1"] } : {}) }),
    },
    settings: createSettingsEditor({ live: new LiveSettings(configSchema.parse({})), actions: store.actions, emit: events.emit }),
    readiness: () => ({ ready: (options.reasons ?? []).length === 0, reasons: options.reasons ?? [], heldBack: [], troubles: [] }),
    metrics: { contentType: "text/plain", text: async () => "wakeful_up 1\n", observeRequest: () => undefined },
    daemon: { version: "0.1.0", pid: 4711, startedAt: now, startSeq: 3, dataDir, store: ":memory:" },
  };
  const services = options.change?.(plain) ?? plain;
  const tokens = new Tokens({ admin: adminToken, runSecret: Buffer.alloc(32, 1) });
  const app = await buildApp({
    services,
    access: { tokens, allowedHosts: ["wakeful.example"] },
    correlationPrefix: "test",
    eventsKept: options.eventsKept,
  });
  onTestFinished(async () => {
    await app.close();
    await store.close();
  });
  let claims = 0;
  return {
    app,
    services,
    tokens,
    advance: (ms) => {
      now = addMs(now, ms);
    },
    worker: (queues = ["comics/prep", "comics/ocr", "mail"]) =>
      store.workers.register({
        name: "commands@w1",
        kind: "command",
        process: { hostId: asHostId("host-one"), bootId: "boot", pidNamespace: "ns", pid: 77, startTime: "5" },
        concurrency: 4,
        queues,
      }),
    claim: (workerId, queues) =>
      store.runs.claim({
        claimId: `c${++claims}`,
        workerId,
        claimSeq: claims,
        queues: queues.map((name) => ({ name, limits: { maxRunningMs: 86_400_000, heartbeatTimeoutMs: 600_000 } })),
        max: 10,
        startNow: 10,
      }),
    async request(method, url, { body, headers = {} } = {}) {
      const answer = await app.inject({
        method,
        url,
        headers: {
          authorization: `Bearer ${adminToken}`,
          ...(method === "POST" ? { "content-type": "application/json" } : {}),
          ...headers,
        },
        ...(body === undefined ? {} : { payload: typeof body === "string" ? body : JSON.stringify(body) }),
      });
      const json = String(answer.headers["content-type"]).startsWith("application/json");
      return { status: answer.statusCode, body: json ? answer.json() : undefined, text: answer.body };
    },
  };
}
