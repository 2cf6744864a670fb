import { expect, test } from "vitest";
import type { ItemId } from "../../src/domain/ids.ts";
import { addMs } from "../../src/domain/time.ts";
import { addItem, declareQueues } from "../support/store-rows.ts";
import { describeStores } from "../support/stores.ts";

describeStores((open) => {
  test("only duplicates whose decision was carried out are removed, the oldest first and a page at a time", async () => {
    const { store, clock } = await open();
    const item = { pipeline: "p", key: "k", existingItemId: 1 as ItemId, sizeBytes: 1 };
    const ids: number[] = [];
    for (const fileName of ["waits", "decided", "first", "second"])
      ids.push(await store.duplicates.add({ ...item, fileName, path: `held/${fileName}` }));
    const [waits = 0, decided = 0, first = 0, second = 0] = ids;
    for (const id of [decided, first, second]) await store.duplicates.decide(id, "discard", "ana");
    await store.duplicates.finish(second);
    clock.advance(1);
    await store.duplicates.finish(first);
    expect(await store.duplicates.removeDone({ doneBefore: addMs(clock.now(), -1), limit: 10 }), "as old as the limit").toBe(0);
    const doneBefore = clock.advance(1);
    expect(await store.duplicates.removeDone({ doneBefore, limit: 1 })).toBe(1);
    expect((await store.duplicates.list(10)).map(({ id }) => id)).toEqual([first, decided, waits]);
    expect(await store.duplicates.removeDone({ doneBefore, limit: 10 })).toBe(1);
    expect(await store.duplicates.removeDone({ doneBefore, limit: 10 })).toBe(0);
    expect((await store.duplicates.list(10)).map(({ id }) => id)).toEqual([decided, waits]);
  });

  test("a duplicate is decided once, carried out once, and the same file is kept once", async () => {
    const { store } = await open();
    await declareQueues(store);
    const item = await addItem(store);
    const found = {
      pipeline: "p",
      key: item.key,
      existingItemId: item.id,
      fileName: "b.cbz",
      path: "duplicates/b.cbz",
      sizeBytes: 5_000_000_000,
    };
    const id = await store.duplicates.add(found);
    expect(await store.duplicates.add(found)).toBe(id);
    expect(await store.duplicates.get(id)).toMatchObject({ ...found, id, decision: null, decidedAt: null, doneAt: null });
    expect(await store.duplicates.get(id + 1)).toBeUndefined();
    expect(await store.duplicates.listDecided()).toEqual([]);
    expect(await store.duplicates.finish(id), "nobody has decided").toBe(false);
    const answers = await Promise.all([store.duplicates.decide(id, "discard", "ana"), store.duplicates.decide(id, "reprocess", "ben")]);
    expect(answers.sort()).toEqual([false, true]);
    expect(await store.duplicates.listDecided()).toMatchObject([{ ...found, id, doneAt: null, decidedAt: store.now() }]);
    expect(await store.duplicates.finish(id)).toBe(true);
    expect(await store.duplicates.finish(id)).toBe(false);
    expect(await store.duplicates.listDecided()).toEqual([]);
    expect(await store.duplicates.list(10)).toMatchObject([{ id, doneAt: store.now() }]);
  });
});
