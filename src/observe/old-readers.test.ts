import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { readElsewhere } from "../../test/support/file-reader.ts";
import { skipTest } from "../../test/support/skips.ts";
import { tempDir } from "../../test/support/temp-dir.ts";
import { asInstant } from "../domain/time.ts";
import { longLogBytes } from "../liveness/old-readers.ts";
import { linuxOpenFiles } from "../processes/probe/open-files.ts";
import { openStore } from "../store/open-store.ts";
import type { KeptForReaders } from "../store/port/old-readers.ts";
import { observeOldReaders, type ReaderSources } from "./old-readers.ts";

/** A store's file with a log beside it. */
async function storeFile(): Promise<string> {
  const path = join(tempDir("old-readers"), "wakeful.db");
  const store = await openStore({ url: path, clock: { now: () => asInstant(0) } });
  onTestFinished(() => store.close());
  return path;
}

const observe = async (
  path: string,
  change: { readonly bytes?: number; readonly held?: boolean; readonly files?: ReaderSources["files"] } = {},
) => {
  const { bytes = longLogBytes + 1, held = true, files = linuxOpenFiles() } = change;
  const kept: KeptForReaders = { log: { bytes, held, readLocks: { path: `${path}-shm`, from: 123, to: 127 } }, transactions: [] };
  return (await observeOldReaders({ upkeep: { keptForReaders: async () => kept }, files, ownPid: process.pid })).readers;
};

test("a process that reads a file in a transaction is named, one that only has it open is not", async (context) => {
  if (process.platform !== "linux") skipTest(context, "needs /proc, to read who has locks");
  const path = await storeFile();
  const reader = await readElsewhere(path);
  const idle = await readElsewhere(path);
  await idle.endReading();
  expect(await observe(path)).toMatchObject([
    {
      kind: "process",
      who: expect.stringMatching(new RegExp(`^pid ${reader.pid} \\(.*node -e `)),
      remedy: `End what it reads, or \`kill ${reader.pid}\`.`,
    },
  ]);
  await reader.endReading();
  expect(await observe(path, { held: false })).toEqual([]);
});

test("while the log is short nobody is looked for", async () => {
  const path = await storeFile();
  await readElsewhere(path);
  expect(await observe(path, { bytes: longLogBytes })).toEqual([]);
});

test("a reader within this process is told as its own", async () => {
  const files = { ...linuxOpenFiles(), lockersOf: () => [process.pid] };
  expect(await observe("/store", { files })).toMatchObject([{ who: `this process (pid ${process.pid}), on a connection of its own` }]);
  expect(await observe("/store", { files, held: false })).toEqual([]);
});

test("a reader that the kernel does not show is told as one that cannot be seen", async () => {
  const path = await storeFile();
  const files = { ...linuxOpenFiles(), lockersOf: () => undefined };
  expect(await observe(path, { files })).toMatchObject([
    { who: "a process that cannot be seen from here", remedy: expect.stringContaining(`lsof ${path}-shm`) },
  ]);
});
