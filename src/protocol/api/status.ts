import { z } from "zod";
import { endpoint } from "../endpoint.ts";
import { instant, rowId } from "../wire.ts";

/** As the delivery orchestrator's operators know it: names and units are theirs, seconds and snake case included. */
export const reaperWire = z.object({
  enabled: z.boolean(),
  interval: z.number().meta({ description: "Seconds." }),
  last_run_ts: z.number().nullable().meta({ description: "Epoch seconds." }),
  reaped_total: z.int(),
  last_reaped: z.object({ job_id: z.int(), agent: z.string().nullable(), outcome: z.string() }).nullable(),
  lease_reclaimed_total: z.int(),
});
export type ReaperWire = z.output<typeof reaperWire>;

const queueStatus = endpoint({
  method: "GET",
  path: "/queue",
  tag: "status",
  summary: "Unfinished jobs by queue and state, and the job-reaper's counters.",
  access: "admin",
  answer: z.object({
    queues: z.array(z.object({ queue: z.string(), paused: z.boolean(), states: z.record(z.string(), z.int()), blocked: z.int() })),
    totals: z.record(z.string(), z.int()),
    reaper: reaperWire,
  }),
});

const metrics = endpoint({
  method: "GET",
  path: "/metrics",
  tag: "status",
  summary: "Metrics in the Prometheus text format.",
  access: "admin",
  answer: z.string().meta({ description: "text/plain" }),
});

const healthz = endpoint({
  method: "GET",
  path: "/healthz",
  tag: "status",
  summary: "The process answers.",
  access: "public",
  answer: z.object({
    status: z.literal("ok"),
    instance: z
      .string()
      .optional()
      .meta({ description: "Which data directory it serves: the same for all who may read the directory, and telling nothing of it." }),
  }),
});

const readyz = endpoint({
  method: "GET",
  path: "/readyz",
  tag: "status",
  summary: "Ready to take work (200), or not yet and why (503).",
  access: "public",
  answer: z
    .object({
      ready: z.boolean(),
      reasons: z.array(z.string()),
      heldBack: z.array(z.object({ queue: z.string(), why: z.string() })),
      troubles: z.array(z.string()),
    })
    .meta({
      description:
        "heldBack: queues of which this host starts nothing now, while the others go on. troubles: what holds up a part of the work, such as a share that does not answer.",
    }),
});

const openapi = endpoint({
  method: "GET",
  path: "/v1/openapi.json",
  tag: "status",
  summary: "This API as an OpenAPI 3.1 document.",
  access: "admin",
  answer: z.unknown(),
});

const oldReadersWire = z
  .object({
    logBytes: z.number().nullable(),
    logHeld: z.boolean(),
    readers: z.array(
      z.object({
        kind: z.enum(["process", "session", "prepared_transaction", "replication_slot"]),
        who: z.string(),
        ageMs: z.number().nullable(),
        transactions: z.number().nullable(),
        catalogOnly: z.boolean(),
        remedy: z.string(),
      }),
    ),
  })
  .meta({
    description:
      "Who reads an old state of the store, those that hold back most first. logBytes: of SQLite's write-ahead log, logHeld: a reader keeps it from being written back, as far as the daemon knows; null and false elsewhere. transactions: how many of PostgreSQL's began since; what ended in them is not vacuumed. catalogOnly: only the server's own catalogue is not.",
  });

const checkStore = endpoint({
  method: "GET",
  path: "/v1/store/check",
  tag: "status",
  summary: "Reads the whole store and checks every promise of its schema; for `wakeful doctor`. Costs grow with its size.",
  access: "admin",
  answer: z.object({
    integrity: z.array(z.string()),
    breaches: z.array(z.object({ rule: z.string(), subject: z.string(), found: z.string() })),
    now: z.int(),
    newestAt: z.int().nullable(),
    sizeBytes: z.number(),
    oldReaders: oldReadersWire,
    outboxWaiting: z.int(),
    outboxDead: z.array(z.object({ id: z.int(), kind: z.string(), key: z.string(), error: z.string().nullable() })),
    unstoppable: z
      .array(z.object({ jobId: rowId, attempt: z.int(), attemptOf: rowId, stopBy: instant, remains: z.string().nullable() }))
      .meta({
        description:
          "Jobs that wait for the end of an attempt, their own or that of the job before (attemptOf), which should be stopped by now and is not proved to be; at most 100. remains: what this daemon's stopper found left of it at its last try, for people; null before the first.",
      }),
  }),
});
export type StoreCheckWire = z.output<typeof checkStore.answer>;

const daemonWire = z.object({
  version: z.string(),
  pid: z.int(),
  startedAt: instant,
  now: instant,
  dataDir: z.string(),
  store: z.string(),
});

const getDaemon = endpoint({
  method: "GET",
  path: "/v1/daemon",
  tag: "status",
  summary: "Which daemon answers, and its configuration in short.",
  access: "admin",
  answer: daemonWire,
});

export const statusApi = { queueStatus, metrics, healthz, readyz, openapi, checkStore, getDaemon };
