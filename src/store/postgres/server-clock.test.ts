import { expect, test } from "vitest";
import type { ClockDoubt } from "../port/clock-doubt.ts";
import { ServerClock } from "./server-clock.ts";

function world() {
  const host = { mono: 0 };
  const server = { now: 1_000_000, takesMs: 0 };
  const clock = new ServerClock({
    mono: () => host.mono,
    sample: () => {
      const beforeMono = host.mono;
      host.mono += server.takesMs;
      return Promise.resolve({ beforeMono, server: server.now, afterMono: host.mono });
    },
  });
  const doubts: ClockDoubt[] = [];
  clock.onDoubt((doubt) => doubts.push(doubt));
  const pass = (ms: number): void => {
    host.mono += ms;
    server.now += ms;
  };
  return { host, server, clock, doubts, pass };
}

test("between two looks the server's time goes on with this host's monotonic clock", async () => {
  const { clock, host } = world();
  await clock.look();
  expect(clock.now()).toBe(1_000_000);
  host.mono += 250;
  expect(clock.now()).toBe(1_000_250);
});

test("the time a look took is halved", async () => {
  const { clock, server } = world();
  server.takesMs = 40;
  await clock.look();
  expect(clock.now()).toBe(1_000_020);
});

test("a look that shows it ran ahead makes it stand still, never go back", async () => {
  const { clock, host, server, doubts } = world();
  await clock.look();
  host.mono = 1_000;
  expect(clock.now()).toBe(1_001_000);
  server.now = 1_000_900;
  await clock.look();
  expect(clock.now()).toBe(1_001_000);
  host.mono = 1_200;
  expect(clock.now()).toBe(1_001_100);
  expect(doubts).toEqual([]);
});

test("a look of a long round trip moves nothing, and is told as time in which nothing was known [F-9.8]", async () => {
  const { clock, server, doubts, pass } = world();
  await clock.look();
  pass(30_000);
  const before = clock.now();
  // Its packets were under way for 70 s: the server's answer is as old as that, or as young as now.
  server.takesMs = 70_000;
  await clock.look();
  expect(clock.now()).toBe(before + 70_000);
  expect(doubts).toEqual([{ kind: "unsampled", from: before, to: before + 70_000, byMs: 0 }]);
});

test("the first look is repeated for a short round trip, and makes do with the shortest", async () => {
  const { clock, server, host } = world();
  const trips = [900, 700, 400, 800, 500];
  let looks = 0;
  Object.defineProperty(server, "takesMs", { get: () => trips[looks++] });
  await clock.start();
  clock.stop();
  expect(looks).toBe(5);
  // 400 ms, from 1600 to 2000 of the host: the middle is 1800.
  expect(clock.now()).toBe(1_000_000 + host.mono - 1_800);
});

test.each([120_000, -120_000])(
  "a clock of the server that moved by %d ms is told as a step, from the last good look on [F-9.9]",
  async (byMs) => {
    const { clock, server, doubts, pass } = world();
    await clock.look();
    const good = clock.now();
    pass(30_000);
    const before = clock.now();
    server.now += byMs;
    await clock.look();
    expect(doubts).toEqual([{ kind: "stepped", from: good, to: clock.now() + 30_000, byMs }]);
    expect(clock.now()).toBeGreaterThanOrEqual(before);
  },
);

test("less than a second is drift, and no step", async () => {
  const { clock, server, doubts, pass } = world();
  await clock.look();
  pass(30_000);
  server.now += 900;
  await clock.look();
  expect(doubts).toEqual([]);
});
