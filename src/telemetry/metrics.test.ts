import { expect, test } from "vitest";
import { busAt, reaped } from "../../test/support/told-run.ts";
import { asJobId, asRunId } from "../domain/ids.ts";
import { createMetrics } from "./metrics.ts";

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
