import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { tempDir } from "../../test/support/temp-dir.ts";
import { findDebianBinaries } from "./postgres.ts";

test("the newest installed server is taken, by number and only if it is whole", () => {
  const folder = tempDir("debian");
  for (const [version, files] of [
    ["9", ["initdb", "postgres"]],
    ["15", ["initdb", "postgres"]],
    ["16", ["initdb"]],
    ["common", ["initdb", "postgres"]],
  ] as const) {
    mkdirSync(join(folder, version, "bin"), { recursive: true });
    for (const name of files) writeFileSync(join(folder, version, "bin", name), "");
  }
  expect(findDebianBinaries(folder)).toEqual({ initdb: join(folder, "15/bin/initdb"), postgres: join(folder, "15/bin/postgres") });
  expect(findDebianBinaries(join(folder, "none"))).toBeUndefined();
});
