import type { Bound } from "../figure.ts";

/** A promise: a value of one cell, or its ratio to another's of the same round. */
export interface QueueTarget {
  readonly name: string;
  readonly unit: string;
  readonly bound: Bound;
  readonly of: string;
  readonly key: string;
  /** Another cell, whose value divides. */
  readonly over?: string | undefined;
}

const ratio = (name: string, of: string, over: string, atLeast: number, key = "perSecond"): QueueTarget => ({
  name,
  unit: `x ${over}`,
  bound: { atLeast },
  of,
  over,
  key,
});

const atMost = (name: string, unit: string, of: string, key: string, most: number): QueueTarget => ({
  name,
  unit,
  bound: { atMost: most },
  of,
  key,
});

const latencyRatio = (name: string, of: string, over: string, most: number): QueueTarget => ({
  ...ratio(name, of, over, 0, "p50Ms"),
  bound: { atMost: most },
});

const postgres = "wakeful-postgres";
const sqlite = "wakeful-sqlite";
const graphile = "graphile-worker best";

/** What is promised of the queue. */
export const queueTargets: readonly QueueTarget[] = [
  ratio("PostgreSQL, 500 ahead, c=10", `${postgres}, 500 ahead, c=10`, `${graphile}, c=10`, 2),
  ratio("PostgreSQL, 500 ahead, c=100", `${postgres}, 500 ahead, c=100`, `${graphile}, c=100`, 2),
  ratio("PostgreSQL, 200 ahead, c=10", `${postgres}, 200 ahead, c=10`, `${graphile}, c=10`, 1.4),
  ratio("PostgreSQL, nothing ahead, c=10", `${postgres}, nothing ahead, c=10`, "graphile-worker defaults, c=10", 3),
  ratio("PostgreSQL, 500 ahead, c=10, beside pg-boss", `${postgres}, 500 ahead, c=10`, "pg-boss best, c=10", 3),
  ratio("PostgreSQL, 500 ahead, c=100, beside pg-boss", `${postgres}, 500 ahead, c=100`, "pg-boss best, c=100", 3),
  ratio("PostgreSQL, enqueue of 1,000", `${postgres}, enqueue`, "graphile-worker, enqueue", 2, "batch"),
  atMost("PostgreSQL, server time a job, 500 ahead, c=10", "us", `${postgres}, 500 ahead, c=10`, "statementUs", 24),
  atMost("PostgreSQL, server time a job, nothing ahead, c=10", "us", `${postgres}, nothing ahead, c=10`, "statementUs", 35),
  atMost("PostgreSQL, node's time a job, nothing ahead, c=10", "us", `${postgres}, nothing ahead, c=10`, "cpuUsPerJob", 80),
  { ...atMost("PostgreSQL, HOT updates", "of all", `${postgres}, 500 ahead, c=10`, "hotShare", 0), bound: { atLeast: 0.9 } },
  atMost("PostgreSQL, WAL a job", "bytes", `${postgres}, 500 ahead, c=10`, "walBytes", 1100),
  ratio("SQLite, 500 ahead, c=10", `${sqlite}, 500 ahead, c=10`, "plainjob, drain", 8),
  ratio("SQLite, 200 ahead, c=10", `${sqlite}, 200 ahead, c=10`, "plainjob, drain", 7),
  ratio("SQLite, nothing ahead, c=10", `${sqlite}, nothing ahead, c=10`, "plainjob, drain", 1.8),
  ratio("SQLite, 500 ahead, c=10, beside BullMQ", `${sqlite}, 500 ahead, c=10`, "bullmq best, c=10", 7),
  latencyRatio(
    "PostgreSQL, start latency p50, same process",
    `${postgres}, start latency from this process`,
    `${graphile}, start latency from this process`,
    0.7,
  ),
  latencyRatio(
    "PostgreSQL, start latency p50, another process",
    `${postgres}, start latency from another process`,
    `${graphile}, start latency from another process`,
    0.7,
  ),
  latencyRatio(
    "SQLite, start latency p50",
    `${sqlite}, start latency from this process`,
    "plainjob best, start latency from this process",
    0.25,
  ),
  atMost("SQLite, start latency p99", "ms", `${sqlite}, start latency from this process`, "p99Ms", 5),
];
