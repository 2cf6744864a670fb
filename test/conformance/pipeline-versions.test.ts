import { expect, test } from "vitest";
import { declareQueues, processOn } from "../support/store-rows.ts";
import { describeStores, type OpenTestStore } from "../support/stores.ts";

async function withQueues(open: OpenTestStore) {
  const opened = await open();
  await declareQueues(opened.store);
  return opened;
}

describeStores((open) => {
  test("the newest version of a pipeline is the current one, and older ones stay readable", async () => {
    const { store } = await withQueues(open);
    const put = async (hash: string) => await store.items.putPipeline({ pipeline: "p", hash, definition: `{"v":"${hash}"}` });
    await put("one");
    await put("two");
    await put("two");
    expect(await store.items.getPipeline("p")).toEqual({ hash: "two", definition: '{"v":"two"}' });
    expect(await store.items.getPipeline("p", "one")).toEqual({ hash: "one", definition: '{"v":"one"}' });
    expect(await store.items.listPipelines()).toEqual([{ pipeline: "p", hash: "two", paused: false }]);
    await put("one");
    expect(await store.items.getPipeline("p")).toMatchObject({ hash: "one" });
    await store.upkeep.setQueuePaused({ queues: ["p/prep", "p/ocr"], paused: true, actor: "ana" });
    expect(await store.items.listPipelines()).toEqual([{ pipeline: "p", hash: "one", paused: true }]);
  });

  test("which pipelines the other daemons declare is kept where several share the store, for as long as a session of theirs is on record", async () => {
    const { store } = await withQueues(open);
    const [a, b] = [processOn("host-a"), processOn("host-b")];
    for (const process of [a, b]) {
      await store.workers.register({ name: "commands", kind: "command", process, concurrency: 1, queues: [] });
    }
    await store.items.declarePipelines({ hostId: a.hostId, pipelines: ["p", "q"] });
    await store.items.declarePipelines({ hostId: b.hostId, pipelines: ["q", "r"] });
    await store.items.declarePipelines({ hostId: processOn("host-gone").hostId, pipelines: ["old"] });
    const shared = store.capabilities.manyWriters;
    expect(await store.items.declaredPipelines()).toEqual(shared ? ["p", "q", "r"] : []);
    await store.items.declarePipelines({ hostId: b.hostId, pipelines: [] });
    await store.items.declarePipelines({ hostId: a.hostId, pipelines: ["p"] });
    expect(await store.items.declaredPipelines()).toEqual(shared ? ["p"] : []);
  });
});
