import { expect, onTestFinished, test, vi } from "vitest";
import { WakefulError } from "../../domain/errors.ts";
import { asInstant } from "../../domain/time.ts";
import { newVantage } from "../../liveness/vantage.ts";
import { StoreWatch } from "./store-watch.ts";
import { Watcher } from "./watcher.ts";

function hearing() {
  const names: string[] = [];
  const emit = (name: string) => void names.push(name);
  const watcher = new Watcher(newVantage(), { emit, alert: async () => true });
  const world = { now: 1_000_000, takesMs: 1, fails: false };
  const store = {
    now: () => asInstant(world.now),
    ping: () => {
      world.now += world.takesMs;
      return world.fails ? Promise.reject(new WakefulError("unavailable", "the server is gone")) : Promise.resolve();
    },
  };
  const subject = new StoreWatch({ store, watcher, tell: { emit, alert: async () => true }, monoNow: () => world.now });
  const silence = () =>
    watcher
      .view("workers")
      .silence({ channel: "throughStore", lastHeardAt: asInstant(1_000_000), limitMs: 30_000, now: asInstant(world.now) });
  return { subject, world, names, silence };
}

test("while the store does not answer nobody counts as silent, and its return is reported once", async () => {
  const { subject, world, names, silence } = hearing();
  await subject.look();
  world.fails = true;
  await subject.look();
  world.now += 60_000;
  await subject.look();
  expect(silence().silentMs).toBeLessThan(1000);
  world.fails = false;
  await subject.look();
  expect(silence()).toMatchObject({ earned: false });
  expect(names).toEqual(["store.degraded", "store.recovered"]);
});

test("an answer that takes longer than a tick is time in which nothing was heard; a quick one is not", async () => {
  const { subject, world, silence } = hearing();
  await subject.look();
  expect(silence().deafMs).toBe(0);
  world.takesMs = 5000;
  await subject.look();
  expect(silence().deafMs).toBe(5000);
});

test("a question that hangs is deafness from its sending on, while it still hangs, and not ready after five seconds [F-9.8]", async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const names: string[] = [];
  const watcher = new Watcher(newVantage(), { emit: (name: string) => void names.push(name), alert: async () => true });
  const world = { now: 1_000_000, answer: () => undefined as void };
  const store = { now: () => asInstant(world.now), ping: () => new Promise<void>((resolve) => (world.answer = resolve)) };
  const subject = new StoreWatch({
    store,
    watcher,
    tell: { emit: (name: string) => void names.push(name), alert: async () => true },
    monoNow: () => world.now,
  });
  const silence = () =>
    watcher
      .view("workers")
      .silence({ channel: "throughStore", lastHeardAt: asInstant(1_000_000), limitMs: 30_000, now: asInstant(world.now) });
  const pass = (ms: number): void => {
    world.now += ms;
    vi.advanceTimersByTime(ms);
  };
  const look = subject.look();
  pass(900);
  expect(silence()).toMatchObject({ deafMs: 0, earned: true });
  pass(3_000);
  expect(silence()).toMatchObject({ deafMs: 3_900, silentMs: 0, earned: false });
  expect(subject.trouble).toBeUndefined();
  pass(2_000);
  expect(subject.trouble).toBe("store does not answer");
  world.answer();
  await look;
  expect(subject.trouble).toBeUndefined();
  expect(silence()).toMatchObject({ deafMs: 5_900, silentMs: 0, earned: false });
  pass(10_000);
  expect(silence()).toMatchObject({ silentMs: 10_000, earned: true });
  expect(names).toEqual([]);
});
