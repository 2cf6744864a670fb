import { chmodSync, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startTestDaemon } from "../support/daemon.ts";
import { tempDir } from "../support/temp-dir.ts";

test("a start closes the data directory that it finds open, and says so", async () => {
  const folder = tempDir("open-data");
  mkdirSync(join(folder, "data"));
  chmodSync(join(folder, "data"), 0o755);
  const { dataDir, log } = await startTestDaemon({ yaml: "dataDir: ./data\n", folder });
  expect(statSync(dataDir).mode & 0o777).toBe(0o700);
  expect(log.filter((line) => line.includes("data_dir.restricted"))).toHaveLength(1);
});
