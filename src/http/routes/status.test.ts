import { expect, test } from "vitest";
import { apiDaemon } from "../../../test/support/api-daemon.ts";
import { loopSnapshot } from "../../../test/support/loop-snapshot.ts";
import { firstOwnerEpoch } from "../../domain/ids.ts";
import { asInstant } from "../../domain/time.ts";

test("the check of the store names a job whose last attempt should be stopped by now, and none before", async () => {
  const { request, services, worker, claim, advance } = await apiDaemon();
  const { item } = await services.operations.submit({ pipeline: "comics", key: "a", actor: "t" });
  const [run] = await claim(await worker(), ["comics/prep"]);
  if (run === undefined) throw new Error("nothing was claimed");
  const { runId, jobId } = run;
  const startedAt = services.store.now();
  await services.store.runs.start([{ runId, ownerEpoch: firstOwnerEpoch, startedAt, limits: { maxRunningMs: 1000 }, checkAt: startedAt }]);
  await request("POST", `/v1/items/${item.id}/cancel`, { body: {} });
  advance(17_000);
  expect((await request("GET", "/v1/store/check")).body.unstoppable).toEqual([]);
  advance(1);
  const stopBy = startedAt + 17_000;
  expect((await request("GET", "/v1/store/check")).body.unstoppable).toEqual([
    { jobId, attempt: 1, attemptOf: jobId, stopBy, remains: null },
  ]);
});

test("GET /queue shows the reaper under the names its operators know, and zeros for a fresh process [B-61] [B-62]", async () => {
  const fresh = await apiDaemon();
  expect((await fresh.request("GET", "/queue")).body.reaper).toEqual({
    enabled: false,
    interval: 0,
    last_run_ts: null,
    reaped_total: 0,
    last_reaped: null,
    lease_reclaimed_total: 0,
  });
  const snapshot = loopSnapshot("job-reaper", {
    lastRunAt: asInstant(1_767_225_600_500),
    details: { reaped_total: 2, last_reaped: { job_id: 7, agent: "dev", outcome: "requeued" }, lease_reclaimed_total: 1, suspects: 0 },
  });
  const { request, services } = await apiDaemon({ snapshots: [snapshot] });
  await services.store.jobs.enqueue({ queue: "mail", jobs: [{}, {}] });
  const { body } = await request("GET", "/queue");
  expect(body.reaper).toEqual({
    enabled: true,
    interval: 1,
    last_run_ts: 1_767_225_600.5,
    reaped_total: 2,
    last_reaped: { job_id: 7, agent: "dev", outcome: "requeued" },
    lease_reclaimed_total: 1,
  });
  expect(body.totals).toEqual({ queued: 2 });
});

test("readiness tells what is in the way", async () => {
  const { request } = await apiDaemon({ reasons: ["the disk is full"] });
  const answer = await request("GET", "/readyz");
  expect([answer.status, answer.body]).toEqual([503, { ready: false, reasons: ["the disk is full"], heldBack: [], troubles: [] }]);
});

test("a stage that passed and left something behind is told once as the holder of its slot, though the next job waits for it too", async () => {
  const { request, services, worker, claim, advance } = await apiDaemon();
  const { store, operations, registry } = services;
  await operations.submit({ pipeline: "comics", key: "a", actor: "t" });
  await operations.submit({ pipeline: "comics", key: "b", actor: "t" });
  const [run] = await claim(await worker(), ["comics/prep"]);
  if (run === undefined) throw new Error("nothing was claimed");
  const { runId, jobId } = run;
  const now = store.now();
  const fence = { runId, ownerEpoch: firstOwnerEpoch };
  await store.runs.start([{ ...fence, startedAt: now, limits: { maxRunningMs: 1000 }, checkAt: now }]);
  const pipelineVersion = registry.get("comics")?.version ?? "";
  const next = { kind: "next", stage: "ocr", queue: "comics/ocr", maxAttempts: 3, maxLosses: null, priority: 0, agent: null } as const;
  const advanced = { ...next, pipelineVersion };
  await store.runs.settle([{ ...fence, jobId, outcome: "succeeded", reason: "ok", stopBy: now, advance: advanced }]);
  advance(1);
  const [following] = (await request("GET", "/v1/jobs?queue=comics%2Focr")).body.jobs;
  const waits = { attempt: 1, attemptOf: jobId, stopBy: now, remains: null };
  const { unstoppable } = (await request("GET", "/v1/store/check")).body;
  expect(unstoppable).toEqual([
    { jobId, ...waits },
    { jobId: following.id, ...waits },
  ]);
  const [queued] = (await request("GET", "/v1/jobs?queue=comics%2Fprep&state=queued")).body.jobs;
  const { headline } = (await request("GET", `/v1/why?job=${queued.id}`)).body;
  expect(headline).toContain(`The one slot of comics.prep is taken, by attempt 1 of job:${jobId} (being stopped).`);
});
