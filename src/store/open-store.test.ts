import { expect, onTestFinished, test, vi } from "vitest";
import { asInstant } from "../domain/time.ts";

vi.mock("pg", () => {
  throw new Error("the server engine's driver was loaded");
});
const clock = { now: () => asInstant(Date.UTC(2026, 0, 1)) };

test("the module loads no driver, and opening a file does not load the server engine's", async () => {
  const { openStore } = await import("./open-store.ts");
  const store = await openStore({ url: ":memory:", clock });
  onTestFinished(() => store.close());
  await store.ping();
  expect(store.capabilities).toEqual({
    manyWriters: false,
    notifies: false,
    blocksEventLoop: true,
    turns: { atOnce: 1, rowsMin: 1000, rowsMax: 1000 },
  });
  await expect(openStore({ url: "postgres://localhost/none", clock })).rejects.toThrow(/driver was loaded|vi\.mock/);
});

test("a store in memory is complete, and each opening is another one", async () => {
  const { openStore } = await import("./open-store.ts");
  const stores = [await openStore({ url: ":memory:", clock }), await openStore({ url: ":memory:", clock })] as const;
  for (const store of stores) onTestFinished(() => store.close());
  await stores[0].upkeep.putSetting("mark", "first");
  expect(await stores[1].upkeep.setting("mark")).toBeUndefined();
  expect(await stores[0].upkeep.checkInvariants()).toEqual([]);
});
