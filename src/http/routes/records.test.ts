import { expect, test } from "vitest";
import { apiDaemon } from "../../../test/support/api-daemon.ts";

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
