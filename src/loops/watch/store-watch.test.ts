import { expect, test } from "vitest";
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
  const subject = new StoreWatch({ store, watcher, emit, monoNow: () => world.now });
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
