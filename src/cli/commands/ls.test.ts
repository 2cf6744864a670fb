import { expect, test } from "vitest";
import { apiDaemon } from "../../../test/support/api-daemon.ts";
import { cli } from "../../../test/support/cli-call.ts";

test.each([
  [["jobs", "--limit", "-3"], "--limit -3 must be"],
  [["jobs", "-n", "0"], "--limit 0 must be 1 to 500"],
  [["jobs", "--state", "queued,nonsense"], "--state queued,nonsense must be one of scheduled, queued, running,"],
  [["runs", "--queue", "comics/prep"], "`wakeful ls runs` has no --queue; it takes --limit"],
  [["jobs", "--pipeline", "comics"], "`wakeful ls jobs` has no --pipeline; it takes --state, --queue, --limit"],
  [["loops", "--state", "live"], "`wakeful ls loops` has no --state."],
])("what a list cannot be asked, ls %j, is refused in words of the command line", async (argv, text) => {
  expect(await cli(["ls", ...argv], { daemon: await apiDaemon() })).toEqual({ code: 2, out: "", err: expect.stringContaining(text) });
});

test("items are listed in a table, of the states that were asked for", async () => {
  const daemon = await apiDaemon();
  await daemon.services.operations.submit({ pipeline: "comics", key: "batman", label: "Batman.cbz", actor: "t" });
  expect((await cli(["ls"], { daemon })).out).toMatch(/^ITEM +PIPELINE +NAME +STAGE +STATE/);
  expect((await cli(["ls", "--state", "active"], { daemon })).out).toContain("Batman.cbz");
  expect((await cli(["ls", "--state", "done"], { daemon })).out).not.toContain("Batman.cbz");
});
