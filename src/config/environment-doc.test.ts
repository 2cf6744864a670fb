import { expect, test } from "vitest";
import { tempDir } from "../../test/support/temp-dir.ts";
import { environmentExample } from "./environment-doc.ts";
import { loadConfig } from "./load.ts";

test("the sample environment file names every setting, and with all of it in force nothing changes [B-69, B-72]", async () => {
  const lines = environmentExample().split("\n");
  const env = Object.fromEntries(lines.flatMap((line) => [...line.matchAll(/^#([A-Z_]+)=(.*)$/g)].map((found) => [found[1], found[2]])));
  expect(Object.keys(env).length).toBeGreaterThan(40);
  const cwd = tempDir("environment");
  const [plain, sampled] = [await loadConfig({ cwd, env: {} }), await loadConfig({ cwd, env })];
  expect(sampled.config).toEqual(plain.config);
  expect(sampled.warnings).toEqual(plain.warnings);
  for (const name of ["REAPER_ENABLED", "REAPER_INTERVAL_S", "REAPER_MAX_RUNNING_S", "LEASE_RECLAIM_ENABLED", "JOB_TIMEOUT_SECONDS"]) {
    expect(lines.filter((line) => line.includes(name)).length, name).toBeGreaterThan(0);
  }
});
