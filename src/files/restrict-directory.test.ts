import { chmodSync, chownSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { skipTest } from "../../test/support/skips.ts";
import { tempDir } from "../../test/support/temp-dir.ts";
import { restrictDirectory } from "./restrict-directory.ts";

const uid = process.getuid?.();
const nobody = 65534;

function exposedDirectory(...names: readonly string[]): string {
  const dataDir = join(tempDir("open"), "data");
  mkdirSync(dataDir);
  for (const name of names) writeFileSync(join(dataDir, name), "");
  chmodSync(dataDir, 0o755);
  return dataDir;
}
const close = (dataDir: string, store = join(dataDir, "wakeful.db")) => restrictDirectory({ dataDir, store, uid });
const modeOf = (path: string): number => statSync(path).mode & 0o7777;

test.each([[[]], [["wakeful.db", "wakeful.db-wal", "host-id", "lost+found"]]])(
  "our directory that was open to others is closed: %j",
  async (names) => {
    const dataDir = exposedDirectory(...names);
    expect(await close(dataDir)).toEqual({ path: dataDir, mode: "755", left: null });
    expect(modeOf(dataDir)).toBe(0o700);
    expect(await close(dataDir)).toBeUndefined();
  },
);

test("a store with a name of its own is ours as well", async () => {
  const dataDir = exposedDirectory("mine.db", "mine.db.lock");
  expect(await close(dataDir, join(dataDir, "mine.db"))).toMatchObject({ left: null });
});

test("a place that holds more than a daemon's files stays as it is, and the answer says so", async () => {
  const dataDir = exposedDirectory("host-id", "wakeful.yaml");
  expect(await close(dataDir)).toEqual({ path: dataDir, mode: "755", left: 'it holds "wakeful.yaml", which is not ours' });
  expect(modeOf(dataDir)).toBe(0o755);
});

test("another user's directory stays as it is, and the answer says so", async (context) => {
  if (uid !== 0) skipTest(context, "only root can make a directory another user's");
  const dataDir = exposedDirectory();
  chownSync(dataDir, nobody, nobody);
  expect(await close(dataDir)).toMatchObject({ left: `it belongs to user ${nobody}, and this is user 0` });
  expect(modeOf(dataDir)).toBe(0o755);
});
