import { expect, test } from "vitest";
import { asHostId } from "../../src/domain/ids.ts";
import { seconds } from "../../src/domain/time.ts";
import { KnownDaemons } from "../../src/loops/watch/known-daemons.ts";
import type { Store } from "../../src/store/port/store.ts";
import { processOn } from "../support/store-rows.ts";
import { describeStores } from "../support/stores.ts";

const limits = { renewMs: seconds(5), deadAfterMs: seconds(30) };

const begin = async (store: Store, host: string, pid = 100): Promise<void> =>
  await store.daemons.begin({ process: processOn(host, pid), place: `${host}:/data`, version: "1.0.0" });

describeStores((open, engine) => {
  test("a data directory has one row: that of its daemon, or of the last one", async () => {
    const { store, clock } = await open();
    await begin(store, "host-a");
    await store.daemons.end(asHostId("host-a"));
    expect(await store.daemons.list()).toMatchObject([{ process: { hostId: "host-a", pid: 100 }, endedAt: clock.now() }]);
    clock.advance(seconds(1));
    await begin(store, "host-a", 101);
    expect(await store.daemons.list()).toEqual([
      {
        process: processOn("host-a", 101),
        place: "host-a:/data",
        version: "1.0.0",
        startedAt: clock.now(),
        heardAt: clock.now(),
        endedAt: null,
      },
    ]);
  });

  test("of the daemons that live one tells of what concerns the store; when it stops or falls silent, the next one does [F-9.12]", async () => {
    const { store, clock } = await open();
    const known = (host: string) =>
      new KnownDaemons({
        // One that may have others beside it, on either engine.
        store: { ...store, capabilities: { ...store.capabilities, manyWriters: true } },
        hostId: asHostId(host),
        monoNow: () => clock.now(),
        limits: () => limits,
      });
    const [a, b, application] = [known("host-a"), known("host-b"), known("application")];
    const first = async (): Promise<readonly boolean[]> => {
      for (const each of [a, b, application]) await each.look();
      return [a, b, application].map((each) => each.isFirst());
    };
    expect(await first(), "no daemon yet").toEqual([true, true, true]);
    await begin(store, "host-a");
    clock.advance(seconds(5));
    await begin(store, "host-b");
    expect(await first()).toEqual([true, false, false]);
    expect(b.others().map(({ place }) => place)).toEqual(["host-a:/data"]);
    for (let beats = 0; beats < 6; beats += 1) {
      clock.advance(seconds(5));
      await store.daemons.beat(asHostId("host-b"));
    }
    expect(await first(), "the first one is silent").toEqual([false, true, false]);
    await store.daemons.beat(asHostId("host-a"));
    await store.daemons.end(asHostId("host-b"));
    clock.advance(seconds(5));
    expect(await first()).toEqual([true, false, false]);
  });

  test("where one daemon owns the store, nobody is read of", async () => {
    const { store, clock } = await open();
    await begin(store, "host-b");
    const known = new KnownDaemons({ store, hostId: asHostId("host-a"), monoNow: () => clock.now(), limits: () => limits });
    await known.look();
    expect(known.others()).toHaveLength(engine === "sqlite" ? 0 : 1);
  });
});
