import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { tempDir } from "../../../test/support/temp-dir.ts";
import { checkContainer, checkDataDirectory, checkDisk, checkNode, checkPrograms } from "./host-checks.ts";

test.each([
  ["v20.19.0", "ok"],
  ["v22.1.0", "ok"],
  ["v20.18.9", "problem"],
  ["v18.99.0", "problem"],
])("Node %s is %s", (version, level) => {
  expect(checkNode(version).level).toBe(level);
});

test("missing programs are named", () => {
  const directory = tempDir("path");
  for (const name of ["sh", "mkfifo", "sync", "mv", "nice"]) {
    writeFileSync(join(directory, name), "");
    chmodSync(join(directory, name), 0o755);
  }
  expect(checkPrograms(directory, "darwin").level).toBe("ok");
  expect(checkPrograms(directory, "linux")).toMatchObject({ level: "problem", text: expect.stringContaining("setsid is not in PATH") });
});

test("a data directory or token that others may read is a problem with its cure", () => {
  const dataDir = tempDir("data");
  const uid = process.getuid?.();
  expect(checkDataDirectory({ dataDir, uid }).level).toBe("ok");
  chmodSync(dataDir, 0o750);
  expect(checkDataDirectory({ dataDir, uid })).toMatchObject({ level: "problem", remedy: `\`chmod 700 ${dataDir}\`` });
  chmodSync(dataDir, 0o700);
  expect(checkDataDirectory({ dataDir, uid: (uid ?? 0) + 1 }).level).toBe("problem");
  mkdirSync(join(dataDir, "tokens"));
  writeFileSync(join(dataDir, "tokens", "admin"), "x", { mode: 0o644 });
  expect(checkDataDirectory({ dataDir, uid })).toMatchObject({ level: "problem", text: expect.stringContaining("can be read by others") });
  expect(checkDataDirectory({ dataDir: join(dataDir, "none"), uid }).level).toBe("warning");
});

test("a full disk and missing ballast are told", async () => {
  const dataDir = tempDir("data");
  const levels = async (minFreeBytes: number, ballastBytes: number) =>
    (await checkDisk({ dataDir, disk: { minFreeBytes, ballastBytes } })).map(({ level }) => level);
  expect(await levels(0, 1)).toEqual(["ok", "warning"]);
  expect(await levels(Number.MAX_SAFE_INTEGER, 1)).toEqual(["problem", "warning"]);
  writeFileSync(join(dataDir, "ballast"), "1");
  expect(await levels(0, 1)).toEqual(["ok", "ok"]);
  expect(await levels(0, 0)).toEqual(["ok", "warning"]);
});

test("adoption in a container is told for what it is", () => {
  expect(checkContainer({ recovery: { adoption: true, pinnedHostLostMs: 600_000, recoverySpreadMs: 0 } }, true).level).toBe("warning");
  expect(checkContainer({ recovery: { adoption: false, pinnedHostLostMs: 600_000, recoverySpreadMs: 0 } }, true).level).toBe("ok");
  expect(checkContainer({ recovery: { adoption: true, pinnedHostLostMs: 600_000, recoverySpreadMs: 0 } }, false).level).toBe("ok");
});
