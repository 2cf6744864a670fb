import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { makeFifo } from "../../test/support/fifo.ts";
import { StoreTestClock } from "../../test/support/stores.ts";
import { tempDir } from "../../test/support/temp-dir.ts";
import { openStore } from "../store/open-store.ts";
import type { Store } from "../store/port/store.ts";
import { countStart } from "./start-sequence.ts";

async function withStore(body: (store: Store, dataDir: string, file: string) => Promise<void>): Promise<void> {
  const dataDir = join(tempDir("start"), "data");
  mkdirSync(dataDir);
  const store = await openStore({ url: ":memory:", clock: new StoreTestClock() });
  try {
    await body(store, dataDir, join(dataDir, "start"));
  } finally {
    await store.close();
  }
}

test("starts are counted in the store and beside it; nothing is raised while both agree", async () => {
  await withStore(async (store, dataDir, file) => {
    for (let start = 1; start <= 3; start++) {
      expect(await countStart(dataDir, store.upkeep)).toEqual({ startSeq: start, epochRaised: false });
      expect(readFileSync(file, "utf8")).toBe(`${start}\n`);
    }
    expect(await store.upkeep.storeEpoch()).toBe(0);
  });
});

test("a store that is behind its file was restored: its epoch rises, once", async () => {
  await withStore(async (store, dataDir, file) => {
    await countStart(dataDir, store.upkeep);
    writeFileSync(file, "9\n");
    expect(await countStart(dataDir, store.upkeep)).toMatchObject({ epochRaised: true });
    expect(await countStart(dataDir, store.upkeep)).toMatchObject({ epochRaised: false });
    expect(await store.upkeep.storeEpoch()).toBe(1);
  });
});

test("a store with starts and no file beside it was restored as well", async () => {
  await withStore(async (store, dataDir, file) => {
    await countStart(dataDir, store.upkeep);
    rmSync(file);
    expect(await countStart(dataDir, store.upkeep)).toMatchObject({ epochRaised: true });
  });
});

test("a crash between the store and the file raises nothing: the store is ahead", async () => {
  await withStore(async (store, dataDir) => {
    await countStart(dataDir, store.upkeep);
    await store.upkeep.recordStart(1);
    expect(await countStart(dataDir, store.upkeep)).toEqual({ startSeq: 3, epochRaised: false });
  });
});

test("a damaged file is refused with what to do about it, and counts nothing", async () => {
  await withStore(async (store, dataDir, file) => {
    await countStart(dataDir, store.upkeep);
    for (const text of ["", "x\n", "-1\n", "1e9\n"]) {
      writeFileSync(file, text);
      await expect(countStart(dataDir, store.upkeep)).rejects.toMatchObject({
        code: "config_invalid",
        message: expect.stringContaining("remove it"),
      });
    }
    writeFileSync(file, "1\n");
    expect(await countStart(dataDir, store.upkeep)).toMatchObject({ startSeq: 2 });
  });
});

test("a FIFO in the file's place is told at once, and one in the draft's place goes", async () => {
  await withStore(async (store, dataDir, file) => {
    makeFifo(`${file}.new`);
    expect(await countStart(dataDir, store.upkeep)).toMatchObject({ startSeq: 1 });
    rmSync(file);
    makeFifo(file);
    await expect(countStart(dataDir, store.upkeep)).rejects.toMatchObject({ code: "not_a_file" });
  });
});
