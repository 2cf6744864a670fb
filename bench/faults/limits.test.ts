import { join } from "node:path";
import { expect, test } from "vitest";
import { loadConfiguration } from "../../src/pipelines/reading/load.ts";
import { tempDir } from "../../test/support/temp-dir.ts";
import { busyFactor } from "./limits.ts";
import { makePlaces } from "./places.ts";
import { writeProject, writeWork } from "./project.ts";

test.each(["default", "short"] as const)("the project of a daemon with %s limits is a valid configuration", async (limits) => {
  const world = tempDir("limits");
  writeWork(world);
  makePlaces(world, { mounted: false });
  const folder = join(world, "a");
  writeProject({ folder, dataDir: join(folder, "data"), store: undefined, limits });
  const { config } = await loadConfiguration({ cwd: folder, env: { PATH: "/bin" }, flags: {} });
  expect(config.worker.deadAfterMs).toBe(limits === "short" ? 3000 : 30_000);
});

test("a bound grows with the load of a busy machine alone", () => {
  expect([busyFactor(0, 2), busyFactor(4, 2), busyFactor(12, 2)]).toEqual([1, 1, 3]);
});
