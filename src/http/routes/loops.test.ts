import { expect, test } from "vitest";
import { apiDaemon } from "../../../test/support/api-daemon.ts";
import { loopSnapshot } from "../../../test/support/loop-snapshot.ts";

test("a loop ticks on demand, dry when asked", async () => {
  const { request } = await apiDaemon({ snapshots: [loopSnapshot("stopper")] });
  expect((await request("POST", "/v1/loops/stopper/run?dryRun=true", { body: {} })).body.report.would).toEqual(["end run 1"]);
  expect((await request("POST", "/v1/loops/stoper/run")).body.error.details.known).toEqual(["stopper"]);
});
