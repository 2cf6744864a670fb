import { describe, expect, test } from "vitest";
import { RepairWorld } from "../../../test/support/repair-world.ts";
import type { RunId, WorkerId } from "../../domain/ids.ts";
import { RenewalListener } from "./renewal-listener.ts";

const seconds = (n: number): number => n * 1000;

/** A claim whose answer the worker never got, or has not yet got: its run is reserved and nobody holds it. */
async function claimed(queue = "mail") {
  const world = await RepairWorld.open();
  const workerId = await world.worker();
  await world.store.jobs.enqueue({ queue: "dev", jobs: [{}] });
  const run = await world.claim("dev", { workerId });
  if (run === undefined) throw new Error(`nothing was claimable in ${queue}`);
  let woken = 0;
  const listen = () =>
    new RenewalListener({
      store: world.store,
      presence: world.loops.presence,
      wakeJobReaper: () => {
        woken++;
      },
      emit: (name) => {
        throw new Error(`nothing should have failed: ${name}`);
      },
    });
  /** One renewal, five seconds later, and then the tick that a hint may have asked for. */
  const renewed = async (says: { readonly claimSeqReceived: number; readonly held?: readonly (typeof run.runId)[] }) => {
    world.advance(seconds(5));
    const renewal = { workerId, held: says.held ?? [], claimSeqReceived: says.claimSeqReceived };
    await world.store.workers.renew(renewal);
    const listener = listen();
    listener.heard(renewal);
    await listener.idle();
    await world.tick();
  };
  return { world, run, renewed, workerId, woken: () => woken };
}

describe("a reserved run whose worker says that it does not hold it [1s]", () => {
  test("is given back with the first renewal that says so, unspent, not when it should have started", async () => {
    const { world, run, renewed, woken } = await claimed();
    await renewed({ claimSeqReceived: 1 });
    expect(await world.store.runs.get(run.runId)).toMatchObject({ outcome: "never_started", reason: "not_held", spent: "nothing" });
    expect(await world.stateOf(run)).toBe("queued");
    expect(woken()).toBe(1);
  });

  test("is left alone while the claim's answer may still be on its way", async () => {
    const { world, run, renewed, woken } = await claimed();
    await renewed({ claimSeqReceived: 0 });
    await renewed({ claimSeqReceived: 0 });
    expect(await world.stateOf(run)).toBe("running");
    expect(woken()).toBe(0);
    await renewed({ claimSeqReceived: 1, held: [run.runId] });
    expect([await world.stateOf(run), woken()]).toEqual(["running", 0]);
  });

  test("is left alone as long as it is held, and given back once it is not", async () => {
    const { world, run, renewed } = await claimed();
    await renewed({ claimSeqReceived: 1, held: [run.runId] });
    expect(await world.stateOf(run)).toBe("running");
    await renewed({ claimSeqReceived: 2 });
    expect(await world.stateOf(run)).toBe("queued");
  });

  test("a daemon that dies between the hint and the look loses nothing: the next renewal says it again", async () => {
    const { world, run, renewed, workerId } = await claimed();
    world.advance(seconds(5));
    await world.store.runs.checkUnheld({ workerId, held: [], claimSeqReceived: 1 });
    world.restart();
    // The restart forgot what the sessions said, so the hint alone ends nothing.
    await world.tick();
    expect(await world.stateOf(run)).toBe("running");
    await renewed({ claimSeqReceived: 1 });
    expect(await world.stateOf(run)).toBe("queued");
  });
});

test("a store that does not answer is reported, and the renewal counts all the same", async () => {
  const world = await RepairWorld.open();
  const told: unknown[] = [];
  const listener = new RenewalListener({
    store: { runs: { checkUnheld: () => Promise.reject(new Error("no connection")) }, now: () => world.now },
    presence: world.loops.presence,
    wakeJobReaper: () => undefined,
    emit: (name, data) => told.push([name, data]),
  });
  const workerId = 7 as WorkerId;
  listener.heard({ workerId, held: [], claimSeqReceived: 3 });
  await listener.idle();
  expect(told).toEqual([["store.degraded", { code: "look_failed", message: "no connection" }]]);
  expect(world.loops.presence.hasLetGo(workerId, 1 as never, (world.now - 1) as never)).toBe(true);
});

describe("a started run of a handler that its worker does not name [1n]", () => {
  async function startedHandler() {
    const world = await RepairWorld.open();
    const workerId = await world.worker({ pid: 60, kind: "handler" });
    world.probe.set(60, "alive");
    const run = await world.running({ queue: "mail", workerId });
    const claimSeqReceived = (await world.store.runs.get(run.runId))?.claimSeq ?? 0;
    const renewed = async (times: number, held: readonly RunId[] = []) => {
      for (let time = 0; time < times; time++) {
        world.advance(seconds(5));
        const renewal = { workerId, held, claimSeqReceived };
        await world.store.workers.renew(renewal);
        const listener = new RenewalListener({
          store: world.store,
          presence: world.loops.presence,
          wakeJobReaper: () => undefined,
          emit: (name) => {
            throw new Error(`nothing should have failed: ${name}`);
          },
        });
        listener.heard(renewal);
        await listener.idle();
        await world.tick();
      }
    };
    return { world, run, renewed };
  }

  test("is lost after 30 s of renewals without it, and spends no attempt [F-9.4]", async () => {
    const { world, run, renewed } = await startedHandler();
    await renewed(10, [run.runId]);
    await renewed(6);
    expect(await world.stateOf(run)).toBe("running");
    await renewed(1);
    expect(await world.store.runs.get(run.runId)).toMatchObject({ outcome: "lost", reason: "not_named", spent: "loss" });
    expect(await world.job(run.jobId)).toMatchObject({ state: "queued", attempts: 0, losses: 1, blockedBy: null });
    expect(await world.store.upkeep.checkInvariants()).toEqual([]);
  });

  test("is left alone as long as it is named, and while nobody hears its session [F-9.4]", async () => {
    const { world, run, renewed } = await startedHandler();
    await renewed(20, [run.runId]);
    await renewed(5);
    world.advance(seconds(60));
    await world.tick();
    expect(await world.stateOf(run)).toBe("running");
  });

  test("a daemon that dies half-way counts anew and ends it once [F-9.4]", async () => {
    const { world, run, renewed } = await startedHandler();
    await renewed(5);
    world.restart();
    await world.tick();
    await renewed(6);
    expect(await world.stateOf(run)).toBe("running");
    await renewed(2);
    expect(await world.stateOf(run)).toBe("queued");
    expect(await world.job(run.jobId)).toMatchObject({ losses: 1 });
  });
});
