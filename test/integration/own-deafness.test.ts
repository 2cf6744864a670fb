import { expect, onTestFinished, test } from "vitest";
import type { Vantage } from "../../src/liveness/vantage.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { Store } from "../../src/store/port/store.ts";
import { oneStage, startTestDaemon } from "../support/daemon.ts";
import { createDatabase } from "../support/postgres.ts";
import { present } from "../support/present.ts";
import { StoreTestClock } from "../support/stores.ts";

/** What the daemon of a host knows of its own deafness. */
async function deafnessOf(store: Store, hostId: string): Promise<readonly string[]> {
  const text = await store.upkeep.setting(`vantage:${hostId}`);
  return (JSON.parse(text ?? "{}") as Partial<Vantage>).intervals?.map(({ cause }) => cause) ?? [];
}

test("a daemon was deaf while it was down, though another one wrote to the store all the while; the other was not [F-9.12]", async () => {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const yaml = `store: ${JSON.stringify(database.url)}${oneStage("true")}`;
  const one = await startTestDaemon({ yaml });
  const other = await startTestDaemon({ yaml });
  await one.stop("leave");
  const again = await startTestDaemon({ yaml, folder: one.folder });
  await again.stop("leave");
  await other.stop("leave");
  const store = await openStore({ url: database.url, clock: new StoreTestClock() });
  onTestFinished(() => store.close());
  const hosts = [
    ...new Set((await store.workers.list({ limit: 100 })).toSorted((a, b) => a.id - b.id).map(({ process }) => process.hostId)),
  ];
  const [first, second] = hosts;
  expect(await deafnessOf(store, present(first))).toContain("process_down");
  expect(await deafnessOf(store, present(second))).not.toContain("process_down");
});
