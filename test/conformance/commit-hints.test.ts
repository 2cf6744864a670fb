import { expect, test } from "vitest";
import { describeStores } from "../support/stores.ts";

describeStores((open) => {
  test("a commit is hinted to listeners of this process, and to those of others where the engine tells", async () => {
    const { store, openAgain } = await open();
    const other = store.capabilities.notifies ? await openAgain() : store;
    const heard = new Promise<string>((resolve) => other.onHint(resolve));
    await store.outbox.put({ kind: "alert", key: "cause", payload: "1" });
    expect(await heard).toBe("outbox");
  });
});
