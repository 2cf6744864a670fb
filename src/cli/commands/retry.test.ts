import { expect, test } from "vitest";
import { apiDaemon } from "../../../test/support/api-daemon.ts";
import { cli } from "../../../test/support/cli-call.ts";

test("a finished job is retried as a new one, one that is not is a conflict; a bare number is a job", async () => {
  const daemon = await apiDaemon();
  await daemon.services.store.jobs.enqueue({ queue: "mail", jobs: [{}] });
  expect((await cli(["retry", "1"], { daemon })).code).toBe(5);
  await cli(["cancel", "1"], { daemon });
  expect((await cli(["retry", "1"], { daemon })).out).toBe("job:2 is queued with a fresh budget\n");
  expect((await cli(["ls", "jobs"], { daemon })).out).toMatch(/job:2 +mail +queued/);
});

test("a run is never repeated: its job or item is", async () => {
  expect((await cli(["retry", "run:1"], { daemon: await apiDaemon() })).err).toContain("name its job or item");
});
