import { expect, test } from "vitest";
import { apiDaemon } from "../../../test/support/api-daemon.ts";
import { firstOwnerEpoch } from "../../domain/ids.ts";

test("plain tasks are enqueued when declared; stages are entered through items only", async () => {
  const { request } = await apiDaemon();
  const first = await request("POST", "/v1/jobs", { body: { task: "mail", payload: { to: "x" }, enqueueId: "e1" } });
  const again = await request("POST", "/v1/jobs", { body: { task: "mail", enqueueId: "e1" } });
  expect([first.status, again.body.jobId]).toEqual([200, first.body.jobId]);
  expect((await request("GET", `/v1/jobs/${first.body.jobId}`)).body.job).toMatchObject({ payload: { to: "x" }, maxAttempts: 2 });
  expect((await request("POST", "/v1/jobs", { body: { task: "comics/prep" } })).status).toBe(404);
  for (const bad of [{ maxAttempts: -1 }, { maxAttempts: 1.5 }, { priority: 1e9 }, { delayMs: -5 }, { delayMs: 1e300 }]) {
    expect((await request("POST", "/v1/jobs", { body: { task: "mail", ...bad } })).status, JSON.stringify(bad)).toBe(400);
  }
});

test("the listing of running jobs has the fields and ages that its readers know [B-13] [B-14]", async () => {
  const { request, services, worker, claim, advance } = await apiDaemon();
  await services.store.jobs.enqueue({ queue: "mail", agent: "dev", repo: "org/app", jobs: [{}] });
  const [run] = await claim(await worker(), ["mail"]);
  advance(2500);
  expect((await request("GET", "/v1/jobs/running")).body.jobs).toEqual([
    {
      id: run?.jobId,
      agent: "dev",
      repo: "org/app",
      task_id: null,
      attempts: 1,
      max_attempts: 2,
      pid: null,
      run_id: run?.runId,
      running_age_s: 2.5,
      exit_code: null,
      finished_age_s: null,
    },
  ]);
});

test("a reserved run has age 0, and an exited one tells how long ago it finished [B-14]", async () => {
  const { request, services, worker, claim, advance } = await apiDaemon();
  await services.operations.submit({ pipeline: "comics", key: "a", actor: "t" });
  const [run] = await claim(await worker(), ["comics/prep"]);
  if (run === undefined) throw new Error("nothing was claimed");
  advance(1000);
  expect((await request("GET", "/v1/jobs/running")).body.jobs).toMatchObject([{ running_age_s: 0, finished_age_s: null, attempts: 0 }]);
  const now = services.store.now();
  await services.store.runs.start([
    { runId: run.runId, ownerEpoch: firstOwnerEpoch, startedAt: now, limits: { maxRunningMs: 1000 }, checkAt: now },
  ]);
  await services.store.runs.recordExit({ runId: run.runId, ownerEpoch: firstOwnerEpoch, exitCode: 3, checkAt: now });
  advance(4000);
  expect((await request("GET", "/v1/jobs/running")).body.jobs).toMatchObject([
    { task_id: run.itemId, running_age_s: 4, exit_code: 3, finished_age_s: 4, max_attempts: 3 },
  ]);
});

test("commands answer what they did, and a conflict where nothing could be done", async () => {
  const { request, services } = await apiDaemon();
  const [jobId] = await services.store.jobs.enqueue({ queue: "mail", jobs: [{}] });
  expect((await request("POST", `/v1/jobs/${jobId}/retry`, { body: {} })).body.error).toMatchObject({
    code: "conflict",
    details: { state: "queued" },
  });
  expect((await request("POST", `/v1/jobs/${jobId}/unhold`, { body: {} })).status).toBe(409);
  expect((await request("POST", `/v1/jobs/${jobId}/cancel`, { body: { reason: "not needed" } })).body).toEqual({ done: true });
  expect((await request("POST", `/v1/jobs/${jobId}/cancel`)).status).toBe(409);
  const retried = await request("POST", `/v1/jobs/${jobId}/retry`);
  expect(retried.body.jobId).toBeGreaterThan(jobId ?? 0);
});
