import { expect, test } from "vitest";
import { apiDaemon } from "../../../test/support/api-daemon.ts";
import { cli } from "../../../test/support/cli-call.ts";

/** An item whose job is held. */
async function heldItem() {
  const daemon = await apiDaemon();
  const { store, operations } = daemon.services;
  await operations.submit({ pipeline: "comics", key: "batman", actor: "t" });
  const [job] = await store.upkeep.listJobs({ limit: 1 });
  if (job === undefined) throw new Error("no job");
  await store.jobs.hold(job.id, { actor: "reconciler", reason: "stage_undeclared", message: "gone" });
  return daemon;
}

test("a held job is granted one more attempt, by its number or by its item's", async () => {
  expect((await cli(["unhold", "job:1"], { daemon: await heldItem() })).out).toBe("job:1 has one more attempt\n");
  const daemon = await heldItem();
  expect((await cli(["unhold", "comics/batman"], { daemon })).out).toBe("job:1 has one more attempt\n");
  expect((await cli(["show", "job:1"], { daemon })).out).toMatch(/state +queued/);
});

test("what is not held is a conflict, and a run never is held", async () => {
  const daemon = await heldItem();
  await cli(["unhold", "job:1"], { daemon });
  expect((await cli(["unhold", "job:1"], { daemon })).code).toBe(5);
  expect(await cli(["unhold", "item:1"], { daemon })).toMatchObject({ code: 5, err: "item:1 has no held job.\n" });
  expect((await cli(["unhold", "run:1"], { daemon })).code).toBe(2);
});
