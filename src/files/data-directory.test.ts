import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { tempDir } from "../../test/support/temp-dir.ts";
import { makeDataDirectory, prepareDataDirectory } from "./data-directory.ts";
import { dataPaths } from "./data-paths.ts";

test("a file in the place of the data directory, or of a folder above it, is to be moved away", async () => {
  const file = join(tempDir("data-directory"), "data");
  writeFileSync(file, "");
  for (const dataDir of [file, join(file, "below")]) {
    const refused = { code: "store_read_only", message: expect.stringContaining("Move away what lies in its place and is no folder") };
    await expect(prepareDataDirectory(dataPaths(dataDir))).rejects.toMatchObject(refused);
    await expect(makeDataDirectory(dataDir)).rejects.toMatchObject(refused);
  }
});
