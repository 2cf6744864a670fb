import { expect, test } from "vitest";
import { busAt, reaped } from "../../test/support/told-run.ts";
import { asJobId, asRunId } from "../domain/ids.ts";
import { createMetrics, type OldReaderNumbers } from "./metrics.ts";

test("metrics count what happened and look up how things stand", async () => {
  const events = busAt(0);
  let queued = 2;
  const loop = {
    name: "job-reaper",
    enabled: true,
    lastRunAt: 5000,
    lastSuccessAt: null,
    lastDurationMs: 12,
    ticks: 3,
    failures: 1,
    seen: 4,
    settled: 2,
    lost: 0,
  };
  const metrics = createMetrics({
    events,
    version: "0.1.0",
    processMetrics: false,
    sources: {
      queues: async () => (queued === 0 ? [] : [{ queue: "mail", paused: false, states: { queued }, blocked: 1 }]),
      loops: () => [loop],
    },
  });
  events.emit("run.reaped", reaped);
  events.emit("run.ended", {
    runId: asRunId(9),
    jobId: asJobId(7),
    queue: "q",
    outcome: "lost",
    reason: "dead_pid",
    message: "",
    jobState: "queued",
    actor: "job-reaper",
  });
  events.emit("runs.settled", { count: 200 });
  metrics.observeRequest({ method: "GET", route: "/queue", status: 200, durationMs: 3 });
  const text = await metrics.text();
  for (const line of [
    'wakeful_info{version="0.1.0"} 1',
    'wakeful_jobs{queue="mail",state="queued"} 2',
    'wakeful_jobs{queue="mail",state="blocked"} 1',
    'wakeful_runs_ended_total{outcome="lost",reason="dead_pid"} 1',
    'wakeful_runs_ended_total{outcome="succeeded",reason="settled"} 200',
    'wakeful_recoveries_total{kind="run_reaped"} 1',
    'wakeful_loop_last_run_timestamp_seconds{loop="job-reaper"} 5',
    'wakeful_loop_failures{loop="job-reaper"} 1',
    'wakeful_http_request_seconds_count{method="GET",route="/queue",status="200"} 1',
  ]) {
    expect(text).toContain(line);
  }
  expect(text).not.toContain("wakeful_loop_last_success_timestamp_seconds{");
  queued = 0;
  expect(await metrics.text()).not.toContain('queue="mail"');
});

test("who reads an old state of the store is named, a short reader is not, and one that is gone is named no longer", async () => {
  let old: OldReaderNumbers = { logBytes: null, readers: [] };
  let asked = 0;
  const metrics = createMetrics({
    events: busAt(0),
    version: "0.1.0",
    processMetrics: false,
    sources: {
      queues: async () => [],
      loops: () => [],
      oldReaders: async () => {
        asked += 1;
        return old;
      },
    },
  });
  const session = { kind: "session", who: "session 7 (psql)", ageMs: 61_500, transactions: 12, catalogOnly: false };
  old = {
    logBytes: null,
    readers: [
      session,
      { ...session, who: "session 8", ageMs: 900, transactions: 3 },
      { ...session, kind: "replication_slot", who: "the slot", ageMs: null, transactions: 99, catalogOnly: true },
    ],
  };
  const text = await metrics.text();
  expect(text).toContain('wakeful_store_old_reader{kind="session",reader="session 7 (psql)"} 1');
  expect(text).toContain('reader="the slot"');
  expect(text).not.toContain("session 8");
  expect(text).toContain("wakeful_store_oldest_transaction_seconds 61.5");
  expect(text).toContain("wakeful_store_oldest_transaction_behind 12");
  expect(text).toContain("wakeful_store_log_bytes 0\n");
  expect(asked).toBe(1);
  old = { logBytes: 90_000_000, readers: [] };
  const after = await metrics.text();
  expect(after).toContain("wakeful_store_log_bytes 90000000");
  expect(after).toContain("wakeful_store_oldest_transaction_seconds 0\n");
  expect(after).not.toContain("session 7");
});
