import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { apiDaemon } from "../../../test/support/api-daemon.ts";

test("logs are shown without terminal controls, unless raw, and never through a link", async () => {
  const { request, services, worker, claim } = await apiDaemon();
  await services.store.jobs.enqueue({ queue: "mail", jobs: [{}] });
  const [run] = await claim(await worker(), ["mail"]);
  const dir = `${services.daemon.dataDir}/runs/${run?.runId}`;
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
  const dir = `${services.daemon.dataDir}/runs/${run.runId}`;
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
