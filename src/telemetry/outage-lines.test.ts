import { expect, test } from "vitest";
import { asInstant } from "../domain/time.ts";
import type { EmittedEvent } from "./events.ts";
import { onceAMinute } from "./outage-lines.ts";

function lines() {
  const written: string[] = [];
  const hear = onceAMinute((event) => void written.push("message" in event.data ? `${event.name}: ${event.data.message}` : event.name));
  const say = (name: string, at: number, data: object): void => hear({ name, at: asInstant(at), data } as EmittedEvent);
  return { written, say };
}

const outage = "postgres://h/db does not answer: connect ECONNREFUSED. It is tried again by itself.";

test("an outage is one line at its beginning, one a minute with the number of the others, and one at its end [F-7.3]", () => {
  const { written, say } = lines();
  for (let at = 0; at <= 90_000; at += 1000) {
    say("store.degraded", at, { code: "claim_failed", message: outage });
    say("loop.failed", at, { loop: "outbox", message: outage });
  }
  say("store.recovered", 91_000, { afterMs: 91_000 });
  expect(written).toEqual([
    `store.degraded: ${outage}`,
    `store.degraded: ${outage} (119 more like it since the last line)`,
    "store.recovered",
  ]);
});

test("the next outage is told at once, and what is no outage always", () => {
  const { written, say } = lines();
  say("store.degraded", 0, { code: "unavailable", message: outage });
  say("store.recovered", 500, { afterMs: 500 });
  say("store.degraded", 1000, { code: "unavailable", message: outage });
  say("loop.failed", 1001, { loop: "intake", message: "EACCES: permission denied" });
  say("loop.failed", 1002, { loop: "intake", message: "EACCES: permission denied" });
  say("store.degraded", 1003, { code: "disk_full", message: "no space left on the device" });
  expect(written).toHaveLength(6);
});
