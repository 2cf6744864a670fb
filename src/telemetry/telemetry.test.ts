import { expect, test } from "vitest";
import { asHostId, asJobId, asRunId, asWorkerId } from "../domain/ids.ts";
import { asInstant } from "../domain/time.ts";
import { EventBus } from "./event-bus.ts";
import type { Emit, EventLevel } from "./events.ts";
import { logSubscriber } from "./log-subscriber.ts";
import { createMetrics } from "./metrics.ts";

const busAt = (at: number) =>
  new EventBus(
    () => asInstant(at),
    (thrown) => {
      throw thrown;
    },
  );

function linesOf(options: { json?: boolean; level?: EventLevel }, emit: (emit: Emit) => void): string[] {
  const lines: string[] = [];
  const bus = busAt(Date.UTC(2026, 0, 1));
  bus.subscribe(logSubscriber({ ...options, write: (line) => void lines.push(line) }));
  emit(bus.emit);
  return lines;
}

const reaped = {
  runId: asRunId(9),
  jobId: asJobId(7),
  queue: "q",
  agent: "dev",
  repo: "org/app",
  pid: 812,
  outcome: "requeued",
  reason: "dead_pid",
};

test("each reap logs one warning with job, agent, repo, run, pid, outcome and reason [B-63]", () => {
  const [line, ...more] = linesOf({ json: true }, (emit) => emit("run.reaped", reaped));
  expect(more).toEqual([]);
  expect(JSON.parse(line ?? "")).toEqual({
    level: "warn",
    service: "wakeful",
    timestamp: "2026-01-01T00:00:00.000Z",
    event: "run.reaped",
    message: "A reaper ended a run.",
    ...reaped,
  });
});

test("durations are told in whole milliseconds, also in an alert's details, and nothing else is rounded", () => {
  const lines = linesOf({ json: true, level: "debug" }, (emit) => {
    emit("loop.late", { loop: "scheduler", sinceMs: 101.6 });
    emit("alert.raised", { cause: "x", title: "x", details: { heldMs: 0.4, load: 0.4 } });
  });
  expect(lines.map((line) => JSON.parse(line) as object)).toMatchObject([{ sinceMs: 102 }, { details: { heldMs: 0, load: 0.4 } }]);
});

test("a healthy tick logs nothing [B-63]", () => {
  for (const json of [true, false]) {
    expect(
      linesOf({ json }, (emit) => emit("loop.ticked", { loop: "job-reaper", seen: 3, settled: 0, lost: 0, failed: 0, tookMs: 1 })),
    ).toEqual([]);
  }
});

test("the level decides what is written", () => {
  const emitAll = (emit: Emit) => {
    emit("disk.low", { path: "/", freeBytes: 1, needBytes: 2 });
    emit("worker.left", { workerId: asWorkerId(1) });
    emit("host.suspended", { hostId: asHostId("h"), forMs: 5 });
  };
  for (const json of [true, false]) {
    expect(linesOf({ json, level: "error" }, emitAll)).toHaveLength(1);
    expect(linesOf({ json, level: "warn" }, emitAll)).toHaveLength(2);
    expect(linesOf({ json, level: "debug" }, emitAll)).toHaveLength(3);
  }
});

test("a text line is one line, whatever a field holds", () => {
  const [line] = linesOf({}, (emit) => emit("defect.found", { where: "GET /", message: "a\nb\u001b[31m\u009b1m\u202e" }));
  expect(line?.trimEnd()).toMatch(/^2026-01-01 00:00:00\.000Z ERROR defect\.found/);
  for (const forbidden of ["\n", "\u001b", "\u009b", "\u202e"]) expect(line?.trimEnd()).not.toContain(forbidden);
});

test("an event's own message stands as the message", () => {
  const [line] = linesOf({ json: true }, (emit) => emit("loop.failed", { loop: "stopper", message: "the disk is gone" }));
  expect(JSON.parse(line ?? "")).toMatchObject({ message: "the disk is gone", loop: "stopper", event: "loop.failed" });
});

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
