import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { apiDaemon } from "../../test/support/api-daemon.ts";
import { asHostId, firstOwnerEpoch } from "../domain/ids.ts";
import { asInstant } from "../domain/time.ts";
import type { LoopSnapshot } from "../loops/skeleton/loop.ts";
import { PausedWorkers } from "../operations/paused-workers.ts";
import { api } from "../protocol/api/index.ts";

test("an item is submitted once per key, and told with its visit and job", async () => {
  const { request } = await apiDaemon();
  const first = await request("POST", "/v1/pipelines/comics/items", { body: { key: "batman", label: "Batman.cbz", input: { pages: 3 } } });
  expect([first.status, first.body.created, first.body.item]).toMatchObject([
    200,
    true,
    { key: "batman", dir: "batman", state: "active", stage: "prep", input: { pages: 3 } },
  ]);
  const again = await request("POST", "/v1/pipelines/comics/items", { body: { key: "batman" } });
  expect([again.body.created, again.body.item.id]).toEqual([false, first.body.item.id]);
  const shown = await request("GET", `/v1/items/${first.body.item.id}`);
  expect(shown.body).toMatchObject({
    visits: [{ stage: "prep", state: "open" }],
    jobs: [{ queue: "comics/prep", state: "queued" }],
    runs: [],
  });
  expect((await request("GET", "/v1/items?pipeline=comics&key=batman")).body.items).toHaveLength(1);
  expect((await request("GET", "/v1/items?state=done,failed")).body.items).toEqual([]);
});

test("the same key in another pipeline gets a directory of its own", async () => {
  const { request } = await apiDaemon();
  await request("POST", "/v1/pipelines/comics/items", { body: { key: "batman" } });
  const other = await request("POST", "/v1/pipelines/books/items", { body: { key: "batman" } });
  expect(other.body.item.dir).toBe("batman~books");
});

test("an item without a key gets one", async () => {
  const { request } = await apiDaemon();
  expect((await request("POST", "/v1/pipelines/comics/items", { body: {} })).body.item.key).toBe("made-1");
});

test.each(["", "-rf", ".hidden", "..", "../x", "a/b", "a\\b", "a\0b", "a\nb", " a", "x".repeat(201), "é".repeat(101), "\ud800"])(
  "the key %j is refused",
  async (key) => {
    const { request } = await apiDaemon();
    const answer = await request("POST", "/v1/pipelines/comics/items", { body: { key } });
    expect([answer.status, answer.body.error.code]).toEqual([400, "bad_request"]);
  },
);

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
  const snapshot: LoopSnapshot<"job-reaper"> = {
    name: "job-reaper",
    enabled: true,
    running: false,
    intervalMs: 1000,
    lastRunAt: asInstant(1_767_225_600_500),
    lastSuccessAt: null,
    lastDurationMs: 3,
    lastError: null,
    ticks: 9,
    failures: 0,
    seen: 1,
    settled: 1,
    lost: 0,
    details: { reaped_total: 2, last_reaped: { job_id: 7, agent: "dev", outcome: "requeued" }, lease_reclaimed_total: 1, suspects: 0 },
  };
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

test("an item is run again from a stage; an unknown stage names those there are", async () => {
  const { request } = await apiDaemon();
  const { item } = (await request("POST", "/v1/pipelines/comics/items", { body: { key: "a" } })).body;
  expect((await request("POST", `/v1/items/${item.id}/rerun`, { body: {} })).status).toBe(409);
  await request("POST", `/v1/items/${item.id}/cancel`, { body: {} });
  expect((await request("POST", `/v1/items/${item.id}/rerun`, { body: { from: "ocrr" } })).body.error.details.known).toEqual([
    "prep",
    "ocr",
  ]);
  expect((await request("POST", `/v1/items/${item.id}/rerun`, { body: { from: "ocr" } })).status).toBe(200);
  expect((await request("GET", `/v1/items/${item.id}`)).body.item).toMatchObject({ state: "active", stage: "ocr" });
});

test("pausing names all, a pipeline, a queue or an item", async () => {
  const { request } = await apiDaemon();
  const { item } = (await request("POST", "/v1/pipelines/comics/items", { body: { key: "a" } })).body;
  const pause = async (target: unknown) => (await request("POST", "/v1/pause", { body: { target } })).body;
  expect(await pause({ kind: "pipeline", name: "comics" })).toEqual({ changed: 2 });
  expect((await request("GET", "/v1/pipelines")).body.pipelines).toMatchObject([
    { name: "comics", paused: true },
    { name: "books", paused: false },
  ]);
  expect((await pause({ kind: "queue", name: "nope" })).error.code).toBe("not_found");
  expect(await pause({ kind: "item", id: item.id })).toEqual({ changed: 1 });
  expect(await pause({ kind: "item", id: item.id })).toEqual({ changed: 0 });
  expect((await request("POST", "/v1/resume", { body: { target: { kind: "all" } } })).body.changed).toBeGreaterThan(0);
});

test("a worker is paused by any of its sessions until it is resumed, also another daemon's; an application's asks nobody", async () => {
  const { request, services } = await apiDaemon();
  const { store } = services;
  const process = { hostId: asHostId("h"), bootId: "b", pidNamespace: "n", pid: 5, startTime: "9" };
  const register = (name: string) => store.workers.register({ name, kind: "command", process, concurrency: 1, queues: [] });
  const [id, elsewhere, application] = [await register("commands@a"), await register("handlers@b"), await register("embedded@c")];
  const ask = async (verb: string, workerId: number) =>
    (await request("POST", `/v1/${verb}`, { body: { target: { kind: "worker", id: workerId } } })).body;
  expect([await ask("pause", id), await ask("pause", id)]).toEqual([{ changed: 1 }, { changed: 0 }]);
  const again = await register("commands@a");
  const shown = async () => {
    const { workers } = (await request("GET", "/v1/workers")).body as { workers: { id: number; paused: boolean }[] };
    return new Map(workers.map(({ id: workerId, paused }) => [workerId, paused]));
  };
  expect(await shown()).toMatchObject(
    new Map([
      [id, true],
      [again, true],
      [elsewhere, false],
      [application, false],
    ]),
  );
  expect((await PausedWorkers.open(store.upkeep)).has({ name: "commands@a", process })).toBe(true);
  expect(await ask("resume", again)).toEqual({ changed: 1 });
  expect((await shown()).get(id)).toBe(false);
  expect(await ask("pause", elsewhere)).toEqual({ changed: 1 });
  expect((await ask("pause", application)).error).toMatchObject({ code: "conflict", message: expect.stringContaining("pause its queues") });
  expect((await ask("pause", 99)).error.code).toBe("not_found");
  expect(await store.actions.list({ workerId: id, limit: 5 })).toMatchObject([{ action: "worker.paused" }]);
});

test("a lease is held by its fencing number alone", async () => {
  const { request } = await apiDaemon();
  const process = { hostId: "h", bootId: "b", pidNamespace: "n", pid: 5, startTime: "9" };
  const ask = (ticket: string) =>
    request("POST", "/v1/leases/org%2Frepo/acquire", {
      body: { ticket, holder: { kind: "process", process }, ttlMs: 5000, maxHoldMs: 60_000, waitMs: 1000 },
    });
  const held = (await ask("t1")).body;
  expect(held.kind).toBe("held");
  expect((await ask("t2")).body).toEqual({ kind: "waiting", position: 1 });
  expect((await request("POST", "/v1/leases/org%2Frepo/renew", { body: { fencing: held.fencing + 1 } })).status).toBe(409);
  expect((await request("POST", "/v1/leases/org%2Frepo/renew", { body: { fencing: held.fencing } })).status).toBe(200);
  expect((await request("POST", "/v1/leases/org%2Frepo/release", { body: { fencing: held.fencing } })).status).toBe(200);
  expect((await request("GET", "/v1/leases")).body.leases).toMatchObject([{ name: "org/repo", state: "held", waiters: 0 }]);
});

test("whoever does not wait for a lease gets it when it is free, and leaves no place in line when it is not", async () => {
  const { request } = await apiDaemon();
  const process = { hostId: "h", bootId: "b", pidNamespace: "n", pid: 5, startTime: "9" };
  const ask = async (ticket: string) =>
    (
      await request("POST", "/v1/leases/main/acquire", {
        body: { ticket, holder: { kind: "process", process }, ttlMs: 5000, maxHoldMs: 60_000 },
      })
    ).body;
  expect((await ask("t1")).kind).toBe("held");
  expect(await ask("t2")).toEqual({ kind: "timed_out" });
  expect((await request("GET", "/v1/leases")).body.leases).toMatchObject([{ state: "held", waiters: 0 }]);
});

test("a pipeline is shown without the values of its environment", async () => {
  const { request } = await apiDaemon();
  const answer = await request("GET", "/v1/pipelines/comics");
  expect(answer.body.definition.stages.ocr.env).toEqual({ API_KEY: "***" });
  expect(answer.text).not.toContain("hunter2");
});

test("a loop ticks on demand, dry when asked", async () => {
  const { request } = await apiDaemon({
    snapshots: [{ name: "stopper" }].map((each) => ({
      ...each,
      enabled: true,
      running: false,
      intervalMs: 1,
      lastRunAt: null,
      lastSuccessAt: null,
      lastDurationMs: null,
      lastError: null,
      ticks: 0,
      failures: 0,
      seen: 0,
      settled: 0,
      lost: 0,
      details: {},
    })) as never,
  });
  expect((await request("POST", "/v1/loops/stopper/run?dryRun=true", { body: {} })).body.report.would).toEqual(["end run 1"]);
  expect((await request("POST", "/v1/loops/stoper/run")).body.error.details.known).toEqual(["stopper"]);
});

test("readiness tells what is in the way", async () => {
  const { request } = await apiDaemon({ reasons: ["the disk is full"] });
  const answer = await request("GET", "/readyz");
  expect([answer.status, answer.body]).toEqual([503, { ready: false, reasons: ["the disk is full"] }]);
});

test("logs are shown without terminal controls, unless raw, and never through a link", async () => {
  const { request, services, worker, claim } = await apiDaemon();
  await services.store.jobs.enqueue({ queue: "mail", jobs: [{}] });
  const [run] = await claim(await worker(), ["mail"]);
  const dir = `${services.runsDir}/${run?.runId}`;
  mkdirSync(dir, { recursive: true });
  writeFileSync(`${dir}/stdout.log`, "one\n\u001b[31mtwo\u001b[0m é\n");
  writeFileSync(`${dir}/secret`, "secret");
  symlinkSync(`${dir}/secret`, `${dir}/stderr.log`);
  const logs = async (query: string) => (await request("GET", `/v1/runs/${run?.runId}/logs${query}`)).text;
  expect(await logs("")).toBe("one\ntwo é\n");
  expect(await logs("?raw=true")).toContain("\u001b[31m");
  expect(await logs("?tailBytes=4")).toBe(" é\n");
  expect(await logs("?stream=stderr")).toBe("");
  expect((await request("GET", `/v1/runs/${run?.runId}/logs?stream=..%2Fsecret`)).status).toBe(400);
});

test("a followed log goes on until its run has ended", async () => {
  const { request, services, worker, claim } = await apiDaemon();
  await services.store.jobs.enqueue({ queue: "mail", jobs: [{}] });
  const [run] = await claim(await worker(), ["mail"]);
  if (run === undefined) throw new Error("nothing was claimed");
  const dir = `${services.runsDir}/${run.runId}`;
  mkdirSync(dir, { recursive: true });
  const following = request("GET", `/v1/runs/${run.runId}/logs?follow=true`);
  writeFileSync(`${dir}/stdout.log`, "the end\n");
  await services.store.runs.settle([
    {
      runId: run.runId,
      ownerEpoch: run.ownerEpoch,
      jobId: run.jobId,
      outcome: "succeeded",
      reason: "ok",
    },
  ]);
  expect((await following).text).toBe("the end\n");
});

test("the OpenAPI document holds every endpoint", async () => {
  const { request } = await apiDaemon();
  const { body } = await request("GET", "/v1/openapi.json");
  expect(body.openapi).toBe("3.1.0");
  for (const { method, path } of Object.values(api)) {
    expect(body.paths[path.replace(/:(\w+)/g, "{$1}")]?.[method.toLowerCase()], `${method} ${path}`).toBeDefined();
  }
  expect(body.paths["/v1/jobs/{id}"].get.responses["200"].content["application/json"].schema.properties.job).toBeDefined();
});

test("why tells of a waiting job who holds the slot that it needs", async () => {
  const { request, services, worker, claim } = await apiDaemon();
  await services.operations.submit({ pipeline: "comics", key: "a", actor: "t" });
  await services.operations.submit({ pipeline: "comics", key: "b", actor: "t" });
  const [run] = await claim(await worker(), ["comics/prep"]);
  if (run === undefined) throw new Error("nothing was claimed");
  const { jobs } = (await request("GET", "/v1/jobs?state=queued")).body;
  const { body } = await request("GET", `/v1/why?job=${jobs[0].id}`);
  expect(body.headline).toContain(`The one slot of comics.prep is taken, by attempt 1 of job:${run.jobId}.`);
  expect((await request("GET", `/v1/why?run=${run.runId}`)).body.headline).toContain("Attempt 1 of job:");
  expect((await request("GET", `/v1/why?item=${jobs[0].itemId}`)).body.headline).toContain("is active in stage prep");
  expect((await request("GET", "/v1/why?job=1&item=1")).status).toBe(400);
  expect((await request("GET", "/v1/why")).status).toBe(400);
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
