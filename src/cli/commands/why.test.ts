import { expect, test } from "vitest";
import { apiDaemon } from "../../../test/support/api-daemon.ts";
import { cli } from "../../../test/support/cli-call.ts";

test("why tells the story of what is named by its key, or by its number", async () => {
  const daemon = await apiDaemon();
  await daemon.services.operations.submit({ pipeline: "comics", key: "batman", actor: "t" });
  expect((await cli(["why", "comics/batman"], { daemon })).out).toContain("No live worker serves the queue comics/prep.");
  expect(JSON.parse((await cli(["why", "item:1", "--json"], { daemon })).out)).toMatchObject({ subject: "item:1" });
});

test("why strips what commands a terminal unless --raw", async () => {
  const daemon = await apiDaemon();
  await cli(["submit", "comics", "--key", "batman", "--label", "\u001b[2Jgone"], { daemon });
  expect((await cli(["why", "item:1"], { daemon })).out).not.toContain("\u001b");
  expect((await cli(["why", "item:1", "--raw"], { daemon })).out).toContain("\u001b[2Jgone");
});
