import { expect, test } from "vitest";
import type { StartFailure } from "../../liveness/start-blame.ts";
import type { EventName } from "../../telemetry/events.ts";
import { StartTroubles } from "./start-troubles.ts";

const secret: StartFailure = { step: "secret", code: "ENOENT", otherDevice: false };
const inodes: StartFailure = { step: "run_folder", code: "ENOSPC", otherDevice: false };

function bench() {
  let now = 0;
  let mended = false;
  let probes = 0;
  const told: EventName[] = [];
  const alerts: string[] = [];
  const tell = {
    emit: (name: EventName) => told.push(name),
    alert: async ({ cause }: { cause: string }) => alerts.push(cause) > 0,
  };
  const troubles = new StartTroubles({ tell, monoNow: () => now, hostId: "h1" });
  const probe = async (): Promise<void> => {
    probes++;
    if (!mended) throw new Error("still so");
  };
  return {
    troubles,
    told,
    alerts,
    probes: () => probes,
    mend: () => (mended = true),
    prevented: (failure: StartFailure, queue = "a") => troubles.prevented({ queue, failure, why: "because", probe }),
    room: (beingStarted = 0) => troubles.room(10, { queues: ["a", "b"], beingStarted }),
    /** Looks each second for so many. */
    async pass(seconds: number) {
      for (let k = 0; k < seconds; k++) {
        now += 1000;
        troubles.look();
        await new Promise(setImmediate);
      }
    },
  };
}

test("without trouble everything may be claimed", () => {
  expect(bench().room()).toEqual({ open: undefined, max: 10, isTrial: false });
});

test("a trouble of one stage holds back that stage alone", async () => {
  const { prevented, room, troubles } = bench();
  prevented(secret);
  expect(room()).toEqual({ open: new Set(["b"]), max: 10, isTrial: false });
  expect(troubles.reasons).toEqual([{ hostWide: false, queue: "a", text: expect.stringMatching(/^because\. Give/) }]);
});

test("a trouble of the host holds back everything", () => {
  const { prevented, room, troubles } = bench();
  prevented(inodes);
  expect(room()).toBeUndefined();
  expect(troubles.reasons).toMatchObject([{ hostWide: true }]);
});

test("no job is tried while the step itself still fails, however long that is", async () => {
  const { prevented, room, pass, probes } = bench();
  prevented(inodes);
  await pass(600);
  expect([room(), probes()]).toEqual([undefined, 600]);
});

test("within two seconds of its mend one job is tried, and with its start everything goes on", async () => {
  const { prevented, room, pass, mend, troubles, told, alerts } = bench();
  prevented(inodes);
  await pass(600);
  mend();
  await pass(1);
  expect(room()).toEqual({ open: new Set(["a", "b"]), max: 1, isTrial: true });
  expect(room(1), "while it is being started").toBeUndefined();
  troubles.started("b");
  expect(room()).toEqual({ open: undefined, max: 10, isTrial: false });
  expect(told).toEqual(["start.prevented", "start.possible"]);
  expect(alerts).toEqual(["start_prevented:h1:host", "start_prevented:h1:host"]);
});

test("a trial that fails is repeated after twice the time, up to a minute", async () => {
  const { prevented, room, pass, mend, alerts } = bench();
  mend();
  prevented(secret);
  const waits: number[] = [];
  for (let trial = 0; trial < 9; trial++) {
    let waited = 0;
    while (room()?.isTrial !== true) {
      await pass(1);
      waited++;
    }
    waits.push(waited);
    prevented(secret);
  }
  expect(waits).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60]);
  expect(alerts).toHaveLength(1);
});

test("what others that were claimed at once say makes nothing longer", async () => {
  const { prevented, room, pass, mend } = bench();
  for (let k = 0; k < 50; k++) prevented(inodes);
  mend();
  await pass(1);
  expect(room()?.isTrial).toBe(true);
});

test("a trouble that comes back within a minute is told once, and after it anew", async () => {
  const { prevented, troubles, pass, alerts } = bench();
  prevented(secret);
  troubles.started("a");
  await pass(30);
  prevented(secret);
  troubles.started("a");
  expect(alerts).toHaveLength(3);
  await pass(61);
  prevented(secret);
  expect(alerts).toHaveLength(4);
});

test("of two troubles at once, of the host and of the only stage, neither keeps the other from being tried", async () => {
  const { prevented, troubles, pass, mend } = bench();
  const room = () => troubles.room(10, { queues: ["a"], beingStarted: 0 });
  prevented(secret);
  prevented(inodes);
  await pass(5);
  expect(room()).toBeUndefined();
  mend();
  await pass(1);
  expect(room()).toEqual({ open: new Set(["a"]), max: 1, isTrial: true });
  troubles.started("a");
  expect(room()).toEqual({ open: undefined, max: 10, isTrial: false });
});

test("a stage whose own trouble lasts is not tried for the host's", async () => {
  const { prevented, troubles, pass, mend } = bench();
  prevented(inodes);
  mend();
  troubles.prevented({ queue: "a", failure: secret, why: "because", probe: () => Promise.reject(new Error("still so")) });
  await pass(1);
  expect(troubles.room(10, { queues: ["a", "b"], beingStarted: 0 })?.open).toEqual(new Set(["b"]));
  await pass(1);
  expect(troubles.room(10, { queues: ["a"], beingStarted: 0 })).toBeUndefined();
});

test("a start of another stage ends no stage's trouble", () => {
  const { prevented, troubles, room } = bench();
  prevented(secret);
  troubles.started("b");
  expect(room()?.open).toEqual(new Set(["b"]));
});
