import { expect, test } from "vitest";
import { ServerClock } from "./server-clock.ts";

function clockAt(server: { now: number }, host: { mono: number }): ServerClock {
  return new ServerClock({ mono: () => host.mono, sample: () => Promise.resolve(server.now) });
}

test("between two looks the server's time goes on with this host's monotonic clock", async () => {
  const host = { mono: 500 };
  const clock = clockAt({ now: 1_000_000 }, host);
  await clock.look();
  expect(clock.now()).toBe(1_000_000);
  host.mono += 250;
  expect(clock.now()).toBe(1_000_250);
});

test("the time a look took is halved", async () => {
  const host = { mono: 0 };
  const clock = new ServerClock({
    mono: () => host.mono,
    sample: () => {
      host.mono += 40;
      return Promise.resolve(1_000_000);
    },
  });
  await clock.look();
  expect(clock.now()).toBe(1_000_020);
});

test("a look that shows it ran ahead makes it stand still, never go back", async () => {
  const host = { mono: 0 };
  const server = { now: 1_000_000 };
  const clock = clockAt(server, host);
  await clock.look();
  host.mono = 1_000;
  expect(clock.now()).toBe(1_001_000);
  server.now = 1_000_900;
  await clock.look();
  expect(clock.now()).toBe(1_001_000);
  host.mono = 1_200;
  expect(clock.now()).toBe(1_001_100);
});
