import { expect, test } from "vitest";
import { apiDaemon } from "../../../test/support/api-daemon.ts";
import { cli } from "../../../test/support/cli-call.ts";
import { loopSnapshot } from "../../../test/support/loop-snapshot.ts";

test("a dry reap tells what it would do", async () => {
  const daemon = await apiDaemon({ snapshots: [loopSnapshot("job-reaper")] });
  expect(await cli(["reap", "--dry-run"], { daemon })).toEqual({
    code: 0,
    out: "would end run 1\n0 looked at, 1 would be settled, 0 failed\n",
    err: "",
  });
});
