import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type ApiDaemonOptions, apiDaemon } from "../../../test/support/api-daemon.ts";
import { cli } from "../../../test/support/cli-call.ts";
import { loopSnapshot } from "../../../test/support/loop-snapshot.ts";
import { tempDir } from "../../../test/support/temp-dir.ts";
import { asInstant } from "../../domain/time.ts";

test("the doctor of a healthy daemon exits with 0, and that of a sick one with 3", async () => {
  const look = async (options: ApiDaemonOptions) => {
    const daemon = await apiDaemon(options);
    const cwd = tempDir("doctor");
    mkdirSync(join(cwd, "data"), { mode: 0o700 });
    return cli(["doctor", "--json"], { cwd, daemon, env: { PATH: process.env["PATH"] ?? "" } });
  };
  const healthy = await look({});
  expect([healthy.code, JSON.parse(healthy.out)]).toMatchObject([0, { healthy: true }]);
  const sick = await look({
    reasons: ["the disk is full"],
    snapshots: [loopSnapshot("stopper", { lastRunAt: asInstant(1), lastSuccessAt: asInstant(1) })],
  });
  expect([sick.code, sick.out]).toEqual([3, expect.stringContaining("takes no new work: the disk is full")]);
  expect(sick.out).toContain("has not ended a tick");
});
