import { expect, test } from "vitest";
import { asHostId, type HostId } from "../../src/domain/ids.ts";
import { seconds } from "../../src/domain/time.ts";
import { RepairWorld } from "../support/repair-world.ts";
import { processOn } from "../support/store-rows.ts";
import { describeStores, type OpenTestStore } from "../support/stores.ts";

/** Of the daemon that judges. */
const here = asHostId("host-a");
const other = asHostId("host-b");

/** A daemon that judges, and a reserved run of a session that somebody else hears. */
async function reserved(open: OpenTestStore, via: HostId | null, viaFirst = via) {
  const { url, store: first } = await open();
  await first.close();
  const world = await RepairWorld.open([], { url });
  const { store } = world;
  await store.daemons.begin({ process: processOn(other), place: "b:/data", version: "1" });
  const workerId = await world.worker({ host: other, kind: "handler", via: viaFirst });
  await store.jobs.enqueue({ queue: "dev", jobs: [{}] });
  const run = await world.claim("dev", { workerId });
  if (run === undefined) throw new Error("nothing was claimable");
  /** Five seconds in each of which those that live say so, and the daemon looks. */
  const pass = async (times: number, { daemon = true, session = true } = {}): Promise<void> => {
    for (let time = 0; time < times; time += 1) {
      world.advance(seconds(5));
      if (daemon) await store.daemons.beat(other);
      if (session) await store.workers.renew({ workerId, held: [run.runId], claimSeqReceived: 99, via: via ?? undefined });
      await world.tick();
    }
  };
  return { world, store, workerId, run, pass, state: async () => (await store.jobs.get(run.jobId))?.state };
}

describeStores((open) => {
  test("a reserved run whose session another living daemon hears is not judged here for what it names [F-9.7]", async () => {
    const { world, store, run, pass, state } = await reserved(open, other);
    await pass(24);
    expect(await state()).toBe("running");
    expect(await store.runs.get(run.runId)).toMatchObject({ state: "reserved" });
    expect(world.world.eventsOf("run.ended")).toEqual([]);
  });

  test("once that daemon has been silent as long as a session may be, the run is judged by silence here [F-9.7]", async () => {
    const { store, run, pass, state } = await reserved(open, other);
    await pass(6);
    await pass(5, { daemon: false, session: false });
    expect(await state()).toBe("running");
    await pass(3, { daemon: false, session: false });
    expect(await store.runs.get(run.runId)).toMatchObject({ outcome: "never_started", spent: "nothing" });
    expect(await state()).toBe("queued");
  });

  test("a daemon that stopped in order hears nobody any more [F-9.7]", async () => {
    const { store, run, pass, state } = await reserved(open, other);
    await pass(12);
    await store.daemons.end(other);
    await pass(1, { daemon: false });
    expect(await store.runs.get(run.runId)).toMatchObject({ outcome: "never_started", reason: "not_named" });
    expect(await state()).toBe("queued");
  });

  test("a session that writes to the store itself is judged by its own silence alone [F-9.7]", async () => {
    const { store, run, pass, state } = await reserved(open, null);
    await pass(24, { daemon: false });
    expect(await state()).toBe("running");
    await pass(7, { daemon: false, session: false });
    expect(await store.runs.get(run.runId)).toMatchObject({ outcome: "never_started", reason: "session_silent" });
    expect(await state()).toBe("queued");
  });

  test("a session that goes to another daemon is heard by that one from then on, whatever it said here before [F-9.7]", async () => {
    const { world, store, workerId, run, pass, state } = await reserved(open, other, here);
    // Heard here at first, when it did not hold the run yet.
    world.loops.presence.heard(workerId, { at: world.now, held: [], claimSeqReceived: 0 });
    await store.workers.renew({ workerId, held: [run.runId], claimSeqReceived: 99, via: other });
    await pass(12);
    expect(await state()).toBe("running");
  });
});
