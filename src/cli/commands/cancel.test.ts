import { expect, test } from "vitest";
import { apiDaemon } from "../../../test/support/api-daemon.ts";
import { cli } from "../../../test/support/cli-call.ts";

test("an item and a job are cancelled once, under the name and with the reason of who asked", async () => {
  const daemon = await apiDaemon();
  await daemon.services.operations.submit({ pipeline: "comics", key: "batman", actor: "t" });
  expect((await cli(["cancel", "item:1", "--reason", "enough"], { daemon })).out).toBe("item:1 is cancelled\n");
  expect((await cli(["cancel", "item:1"], { daemon })).code).toBe(5);
  const { actions } = (await daemon.request("GET", "/v1/actions?item=1")).body;
  expect(JSON.stringify(actions)).toMatch(/"actor":"cli:tester"[\s\S]*enough/);
  const jobId = (await daemon.request("POST", "/v1/jobs", { body: { task: "mail" } })).body.jobId;
  expect((await cli(["cancel", String(jobId)], { daemon })).out).toBe(`job:${jobId} is cancelled\n`);
  expect((await cli(["ls", "jobs"], { daemon })).out).toMatch(new RegExp(`job:${jobId} +mail +cancelled`));
});

test("a run is not cancelled by itself: it would be tried again", async () => {
  expect(await cli(["cancel", "run:1"], { daemon: await apiDaemon() })).toMatchObject({
    code: 2,
    err: expect.stringContaining("a run that ended alone would be tried again"),
  });
});
