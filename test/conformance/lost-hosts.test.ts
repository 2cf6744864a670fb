import { expect, test } from "vitest";
import { asHostId, type HostId } from "../../src/domain/ids.ts";
import { minutes, seconds } from "../../src/domain/time.ts";
import { LostHosts } from "../../src/loops/items/lost-hosts.ts";
import { alertsThrough } from "../../src/notify/raise-alert.ts";
import type { Store } from "../../src/store/port/store.ts";
import { addItem, claim, declareQueues, onlyJobOf, processOn, registerWorker } from "../support/store-rows.ts";
import { describeStores, type OpenTestStore } from "../support/stores.ts";

const [hostA, hostB, hostC] = [asHostId("host-a"), asHostId("host-b"), asHostId("host-c")];

/** Three daemons, the second of which falls silent when the test says so, and two items whose files it holds. */
async function threeDaemons(open: OpenTestStore) {
  const { store: opened, clock } = await open();
  // One that may have others beside it, on either engine.
  const store: Store = { ...opened, capabilities: { ...opened.capabilities, manyWriters: true } };
  await declareQueues(store);
  for (const host of [hostA, hostB, hostC]) await store.daemons.begin({ process: processOn(host), place: `${host}:/data`, version: "1" });
  const alerts: string[] = [];
  const told: { readonly name: string; readonly data: unknown }[] = [];
  const looks = new Map<HostId, () => Promise<Awaited<ReturnType<LostHosts["look"]>>>>();
  const restart = (hostId: HostId, jobs: Store["jobs"] = store.jobs): void => {
    const lost = new LostHosts({
      store: { ...store, jobs },
      hostId,
      alert: async (alert) => {
        alerts.push(alert.cause);
        return await alertsThrough({ outbox: store.outbox, emit: () => undefined })(alert);
      },
      pinnedHostLostMs: () => minutes(10),
      jobsMax: 100,
    });
    const signal = new AbortController().signal;
    looks.set(hostId, async () =>
      lost.look({ now: clock.now(), signal, enabled: true, dryRun: false, emit: (name, data) => void told.push({ name, data }) }),
    );
  };
  for (const host of [hostA, hostB, hostC]) restart(host);
  const items = [await addItem(store, "one", {}, hostB), await addItem(store, "two", {}, hostB)];
  const jobs = await Promise.all(items.map(async ({ id }) => await onlyJobOf(store, id)));
  /** Ten seconds at a time, in each of which those that live say so and look. */
  const pass = async (times: number, living: readonly HostId[]): Promise<void> => {
    for (let time = 0; time < times; time += 1) {
      clock.advance(seconds(10));
      for (const host of living) await store.daemons.beat(host);
      for (const host of living) await looks.get(host)?.();
    }
  };
  const states = async () => await Promise.all(jobs.map(async (id) => (await store.jobs.get(id))?.state));
  return { store, clock, alerts, told, restart, items, jobs, pass, states };
}

const minute = 6;

describeStores((open) => {
  test("items of a host that is silent for pinnedHostLostMs are held with one alert, and queued again when it is back [F-7.1]", async () => {
    const { store, alerts, items, jobs, pass, states } = await threeDaemons(open);
    await pass(minute, [hostA, hostB, hostC]);
    await pass(9 * minute, [hostA, hostC]);
    expect(await states()).toEqual(["queued", "queued"]);
    await pass(2 * minute, [hostA, hostC]);
    expect(await states()).toEqual(["held", "held"]);
    expect(alerts).toEqual(["host.lost:host-b"]);
    const [first] = await store.outbox.due(10).then((rows) => rows.filter(({ kind }) => kind === "alert"));
    expect(first?.payload).toMatch(/The daemon of host-b:\/data was last heard at .*2 items that need its files are held/);
    expect((await store.jobs.get(jobs[0] as never))?.error).toContain(`wakeful move item:${items[0]?.id} --host`);
    await pass(30 * minute, [hostA, hostC]);
    expect(alerts).toHaveLength(1);
    await pass(1, [hostA, hostB, hostC]);
    expect(await states()).toEqual(["queued", "queued"]);
    const workerId = await registerWorker(store, "b", processOn(hostB));
    expect((await claim(store, { workerId })).map((run) => run.jobId)).toEqual(jobs);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("a host that is heard in time loses nothing, and neither does one that the store could not hear for a while [F-7.1]", async () => {
    const { clock, alerts, pass, states } = await threeDaemons(open);
    await pass(20 * minute, [hostA, hostB, hostC]);
    // Nobody reached the store.
    clock.advance(minutes(30));
    await pass(1, [hostA, hostC]);
    await pass(minute, [hostA, hostB, hostC]);
    expect(await states()).toEqual(["queued", "queued"]);
    expect(alerts).toEqual([]);
  });

  test("a daemon that dies between two holds leaves the rest to the next one, and what a person held stays held [F-7.1]", async () => {
    const { store, jobs, restart, pass, states } = await threeDaemons(open);
    const [first, second] = jobs;
    let held = 0;
    restart(hostA, {
      ...store.jobs,
      hold: async (id, options) => {
        if (++held > 1) throw new Error("killed");
        return await store.jobs.hold(id, options);
      },
    });
    await pass(10 * minute + 2, [hostA]);
    expect(await states()).toEqual(["held", "queued"]);
    await pass(minute, [hostC]);
    expect(await states()).toEqual(["held", "held"]);
    await store.jobs.unhold(second as never, { actor: "ana", force: false });
    await store.jobs.hold(second as never, { actor: "ana", reason: "wait", message: "wait" });
    await pass(1, [hostB, hostC]);
    expect(await store.jobs.get(first as never)).toMatchObject({ state: "queued" });
    expect(await store.jobs.get(second as never)).toMatchObject({ state: "held" });
  });
});
