import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { tempDir } from "../../test/support/temp-dir.ts";
import { ownDataDirectory } from "./own-data-directory.ts";

/** A store by its id; a new one takes the id that it is offered. */
function storeWith(id?: string) {
  const raised: string[] = [];
  let own = id;
  const upkeep = {
    identify: async (candidate: string) => (own ??= candidate),
    raiseEpoch: async (reason: string) => raised.push(reason),
  };
  return { upkeep, raised };
}

test("a data directory belongs to the store that it is first used with, wherever that store is moved to", async () => {
  const dataDir = tempDir("data");
  const { upkeep, raised } = storeWith("a");
  await ownDataDirectory({ dataDir, place: "/one.db", upkeep, take: false });
  expect(readFileSync(join(dataDir, "store"), "utf8")).toBe("a\n/one.db\n");
  await ownDataDirectory({ dataDir, place: "/moved.db", upkeep, take: false });
  expect(readFileSync(join(dataDir, "store"), "utf8")).toBe("a\n/moved.db\n");
  expect(raised).toEqual([]);
});

test.each([
  ["a store that has an id of its own, at the same place", "b", "/one.db"],
  ["a store that has an id of its own, elsewhere", "b", "/two.db"],
  ["a new store elsewhere", undefined, "/two.db"],
])("%s is refused until a person gives it the directory, and begins in a new range of ids then", async (_, id, place) => {
  const dataDir = tempDir("data");
  await ownDataDirectory({ dataDir, place: "/one.db", upkeep: storeWith("a").upkeep, take: false });
  const { upkeep, raised } = storeWith(id);
  const asked = ownDataDirectory({ dataDir, place, upkeep, take: false });
  await expect(asked).rejects.toMatchObject({ code: "data_dir_of_another_store" });
  expect(raised).toEqual([]);
  await ownDataDirectory({ dataDir, place, upkeep, take: true });
  expect(raised).toHaveLength(1);
  await ownDataDirectory({ dataDir, place, upkeep, take: false });
  expect(raised).toHaveLength(1);
});

test("a new store in the place of one that was lost has its data directory, without a person", async () => {
  const dataDir = tempDir("data");
  await ownDataDirectory({ dataDir, place: "/one.db", upkeep: storeWith("a").upkeep, take: false });
  await ownDataDirectory({ dataDir, place: "/one.db", upkeep: storeWith().upkeep, take: false });
});
