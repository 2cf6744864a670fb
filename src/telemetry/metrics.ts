import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { hours, minutes } from "../domain/time.ts";
import type { EventBus } from "./event-bus.ts";
import type { EmittedEvent } from "./events.ts";

/** What is read when metrics are asked for, rather than counted. Absent sources are left out. */
export interface MetricSources {
  readonly queues: () => Promise<
    readonly {
      readonly queue: string;
      readonly paused: boolean;
      readonly states: Readonly<Record<string, number>>;
      readonly blocked: number;
    }[]
  >;
  readonly slots?: () => Promise<readonly { readonly key: string; readonly capacity: number; readonly used: number }[]>;
  readonly outboxDepth?: (() => Promise<number>) | undefined;
  readonly storeBytes?: (() => Promise<number>) | undefined;
  readonly oldReaders?: (() => Promise<OldReaderNumbers>) | undefined;
  readonly loops: () => readonly LoopNumbers[];
}

/** Who reads an old state of the store. Absent numbers are null. */
export interface OldReaderNumbers {
  readonly logBytes: number | null;
  readonly readers: readonly {
    readonly kind: string;
    readonly who: string;
    readonly ageMs: number | null;
    readonly transactions: number | null;
    readonly catalogOnly: boolean;
  }[];
}

export interface LoopNumbers {
  readonly name: string;
  readonly enabled: boolean;
  readonly lastRunAt: number | null;
  readonly lastSuccessAt: number | null;
  readonly lastDurationMs: number | null;
  readonly ticks: number;
  readonly failures: number;
  readonly seen: number;
  readonly settled: number;
  readonly lost: number;
}

export interface MetricsOptions {
  readonly events: EventBus;
  readonly sources: MetricSources;
  readonly version: string;
  /** The process's own memory, event loop and garbage collection. Default true. */
  readonly processMetrics?: boolean | undefined;
}

export interface Metrics {
  readonly contentType: string;
  /** The Prometheus text. */
  text(): Promise<string>;
  observeRequest(request: { readonly method: string; readonly route: string; readonly status: number; readonly durationMs: number }): void;
  close(): void;
}

/** Counts events as they come and reads the rest when asked. Labels are bounded: queues, loops, outcomes and routes, never ids. */
export function createMetrics({ events, sources, version, processMetrics = true }: MetricsOptions): Metrics {
  const registry = new Registry();
  if (processMetrics) ofTheProcess(registry);
  new Gauge({ name: "wakeful_info", help: "1; the version stands in the label.", labelNames: ["version"], registers: [registry] }).set(
    { version },
    1,
  );
  const requests = new Histogram({
    name: "wakeful_http_request_seconds",
    help: "Time to answer a request.",
    labelNames: ["method", "route", "status"],
    buckets: [0.005, 0.02, 0.1, 0.5, 2, 10],
    registers: [registry],
  });
  const count = eventCounters(registry);
  const stop = events.subscribe(count);
  lookedUp(registry, sources);
  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    observeRequest: ({ method, route, status, durationMs }) =>
      requests.observe({ method, route, status: String(status) }, durationMs / 1000),
    close: () => {
      stop();
      registry.clear();
    },
  };
}

/** The library samples the event loop. Its default of 10 ms would be most of an idle daemon's work, so it samples once an hour. */
const loopSampleMs = hours(1);
/** Metrics that the library makes of those samples: meaningless. */
const sampledLag = ["min", "max", "mean", "stddev", "p50", "p90", "p99"].map((of) => `nodejs_eventloop_lag_${of}_seconds`);

function ofTheProcess(registry: Registry): void {
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: loopSampleMs });
  for (const name of sampledLag) registry.removeSingleMetric(name);
  let before = performance.eventLoopUtilization();
  registry.registerMetric(
    new Gauge({
      name: "wakeful_event_loop_busy_ratio",
      help: "How much of the time since the last look the event loop was busy, 0 to 1. Near 1 the process is late with everything.",
      registers: [],
      collect() {
        const now = performance.eventLoopUtilization();
        this.set(performance.eventLoopUtilization(now, before).utilization);
        before = now;
      },
    }),
  );
}

function eventCounters(registry: Registry): (event: EmittedEvent) => void {
  const counter = (name: string, help: string, labelNames: string[] = []) => new Counter({ name, help, labelNames, registers: [registry] });
  const ended = counter("wakeful_runs_ended_total", "Runs that ended, by outcome and reason. Plain successes have the reason `settled`.", [
    "outcome",
    "reason",
  ]);
  const enqueued = counter("wakeful_jobs_enqueued_total", "Jobs added through the API.");
  const started = counter("wakeful_runs_started_total", "Runs whose process is at work; handler runs are seen when they end.");
  const recoveries = counter("wakeful_recoveries_total", "What was healed, by kind.", ["kind"]);
  const alerts = counter("wakeful_alerts_total", "Alerts raised, by cause.", ["cause"]);
  const logged = counter("wakeful_events_total", "Events by name.", ["name"]);
  return ({ name, data }) => {
    logged.inc({ name });
    const kind = recoveryKinds[name];
    if (kind !== undefined) recoveries.inc({ kind });
    switch (name) {
      case "run.ended":
        ended.inc({ outcome: data.outcome, reason: data.reason });
        break;
      case "runs.settled":
        ended.inc({ outcome: "succeeded", reason: "settled" }, data.count);
        break;
      case "runs.reaped":
        ended.inc({ outcome: data.outcome, reason: data.reason }, data.count);
        recoveries.inc({ kind: "run_reaped" }, data.count);
        break;
      case "run.started":
        started.inc();
        break;
      case "job.enqueued":
        enqueued.inc(data.jobIds.length);
        break;
      case "alert.raised":
        // A cause ends in the ids it is about, which a label must not contain.
        alerts.inc({ cause: data.cause.split(":")[0] ?? "" });
        break;
      default:
        break;
    }
  };
}

/** Events that mean that something was healed. A kind keeps its name for dashboards when its event is renamed. */
const recoveryKinds: Partial<Record<EmittedEvent["name"], string>> = {
  "run.reaped": "run_reaped",
  "run.adopted": "run_adopted",
  "run.strays_stopped": "strays_stopped",
  "worker.dead": "worker_buried",
  "lease.reclaimed": "lease_reclaimed",
  "item.recovered": "item_rescued",
  "handler_host.exited": "handler_host_restarted",
  "store.recovered": "store_recovered",
  "disk.recovered": "disk_recovered",
};

type AddGauge = (
  name: string,
  help: string,
  labelNames: string[],
  collect: (gauge: Gauge<string>) => Promise<void> | void,
) => Gauge<string>;

/** Shorter reads are no label's matter: each would make a series of its own. */
const namedAfterMs = minutes(1);
const namedMax = 10;

function ofOldReaders(gauge: AddGauge, source: () => Promise<OldReaderNumbers>): void {
  let asked: Promise<OldReaderNumbers> | undefined;
  /** One question for all gauges of one reading. */
  const ask = async (): Promise<OldReaderNumbers> => {
    asked ??= source().finally(() => {
      asked = undefined;
    });
    return await asked;
  };
  gauge("wakeful_store_log_bytes", "Size of SQLite's write-ahead log; 0 on PostgreSQL.", [], async (size) => {
    size.set((await ask()).logBytes ?? 0);
  });
  const oldest = (name: string, help: string, of: (reader: OldReaderNumbers["readers"][number]) => number | null) =>
    gauge(name, help, [], async (value) => {
      const { readers } = await ask();
      value.set(Math.max(0, ...readers.filter(({ catalogOnly }) => !catalogOnly).map((reader) => of(reader) ?? 0)));
    });
  oldest(
    "wakeful_store_oldest_transaction_seconds",
    "Age of PostgreSQL's oldest transaction that keeps rows from being vacuumed, as far as this role may see ages; 0 without any.",
    ({ ageMs }) => (ageMs === null ? null : ageMs / 1000),
  );
  oldest(
    "wakeful_store_oldest_transaction_behind",
    "How many transactions began on PostgreSQL since the oldest that keeps rows from being vacuumed; 0 without any.",
    ({ transactions }) => transactions,
  );
  gauge(
    "wakeful_store_old_reader",
    "1 for each of the ten oldest that read an old state of the store: for a minute or an unknown time on PostgreSQL, while the log is long on SQLite.",
    ["kind", "reader"],
    async (named) => {
      const { readers } = await ask();
      const old = readers.filter(({ ageMs }) => ageMs === null || ageMs >= namedAfterMs);
      for (const { kind, who } of old.slice(0, namedMax)) named.set({ kind, reader: who }, 1);
    },
  );
}

function lookedUp(registry: Registry, sources: MetricSources): void {
  const gauge: AddGauge = (name, help, labelNames, collect) =>
    new Gauge({
      name,
      help,
      labelNames,
      registers: [registry],
      async collect() {
        // A value that is gone must not stay at its last reading.
        this.reset();
        await collect(this);
      },
    });
  gauge("wakeful_jobs", "Unfinished jobs by queue and state.", ["queue", "state"], async (jobs) => {
    for (const { queue, states, blocked } of await sources.queues()) {
      for (const [state, value] of Object.entries(states)) jobs.set({ queue, state }, value);
      jobs.set({ queue, state: "blocked" }, blocked);
    }
  });
  gauge("wakeful_queue_paused", "1 while a queue is paused.", ["queue"], async (paused) => {
    for (const queue of await sources.queues()) paused.set({ queue: queue.queue }, queue.paused ? 1 : 0);
  });
  const { slots, outboxDepth, storeBytes } = sources;
  if (slots !== undefined) {
    gauge("wakeful_slots_used", "Concurrency slots in use.", ["key"], async (used) => {
      for (const slot of await slots()) used.set({ key: slot.key }, slot.used);
    });
    gauge("wakeful_slots_capacity", "Concurrency slots there are.", ["key"], async (capacity) => {
      for (const slot of await slots()) capacity.set({ key: slot.key }, slot.capacity);
    });
  }
  if (outboxDepth !== undefined)
    gauge("wakeful_outbox_depth", "Deliveries that wait.", [], async (depth) => depth.set(await outboxDepth()));
  if (storeBytes !== undefined) gauge("wakeful_store_bytes", "Size of the store.", [], async (size) => size.set(await storeBytes()));
  if (sources.oldReaders !== undefined) ofOldReaders(gauge, sources.oldReaders);
  const loopGauge = (name: string, help: string, valueOf: (loop: LoopNumbers) => number | null) =>
    gauge(name, help, ["loop"], (loops) => {
      for (const loop of sources.loops()) {
        const value = valueOf(loop);
        if (value !== null) loops.set({ loop: loop.name }, value);
      }
    });
  const toSeconds = (ms: number | null): number | null => (ms === null ? null : ms / 1000);
  loopGauge("wakeful_loop_enabled", "1 unless the loop's kill switch is off.", ({ enabled }) => (enabled ? 1 : 0));
  loopGauge("wakeful_loop_last_run_timestamp_seconds", "When a loop's last tick ended, failed or not.", ({ lastRunAt }) =>
    toSeconds(lastRunAt),
  );
  loopGauge("wakeful_loop_last_success_timestamp_seconds", "When a loop's last good tick ended.", ({ lastSuccessAt }) =>
    toSeconds(lastSuccessAt),
  );
  loopGauge("wakeful_loop_last_duration_seconds", "How long a loop's last tick took.", ({ lastDurationMs }) => toSeconds(lastDurationMs));
  loopGauge("wakeful_loop_ticks", "Ticks since the process began.", ({ ticks }) => ticks);
  loopGauge("wakeful_loop_failures", "Failed ticks since the process began.", ({ failures }) => failures);
  loopGauge("wakeful_loop_seen", "Subjects looked at since the process began.", ({ seen }) => seen);
  loopGauge("wakeful_loop_settled", "Flips won since the process began.", ({ settled }) => settled);
  loopGauge("wakeful_loop_lost", "Flips that another actor won, since the process began.", ({ lost }) => lost);
}
