import { expect, test } from "vitest";
import { at, wideAwake } from "../../test/support/judged-run.ts";
import type { ProcessLife } from "./evidence.ts";
import { addDeaf, newVantage, type VantageView, viewOf } from "./vantage.ts";
import { explainWorker, judgeWorker, type WorkerVerdict } from "./worker-policy.ts";

const judge = (life: ProcessLife, now: number, options: { vantage?: VantageView; hostConflict?: boolean } = {}) =>
  judgeWorker(
    { heardAt: at(0), channel: "throughMe" },
    { process: { pid: 99, life }, hostConflict: options.hostConflict ?? false },
    { deadAfterMs: 30_000 },
    options.vantage ?? wideAwake,
    at(now),
  );

/** What a person reads of a session that is over. */
const told = (verdict: WorkerVerdict) => verdict.kind === "dead" && explainWorker(verdict);

test("a process proved dead on this host ends its session at once", () => {
  expect(judge("dead", 0)).toEqual({ kind: "dead", reason: "process_dead", pid: 99 });
  expect(told(judge("dead", 0))).toBe("dead pid 99");
});

test("another boot counts when the session is silent by the clock too, for a clone also shows another boot", () => {
  expect(judge("otherBoot", 29).kind).toBe("leave_alone");
  expect(judge("otherBoot", 30)).toEqual({ kind: "dead", reason: "other_boot", sinceHeardMs: 30_000, limitMs: 30_000 });
  expect(told(judge("otherBoot", 30))).toBe("its host was started again; last heard 30 s ago");
});

test("silence ends the session of a process that cannot be probed, after vantage", () => {
  expect(judge("unknown", 29.9)).toMatchObject({ kind: "leave_alone", reason: "heard" });
  expect(judge("unknown", 30)).toEqual({ kind: "dead", reason: "silent", silentMs: 30_000, deafMs: 0, limitMs: 30_000 });
  expect(told(judge("unknown", 30))).toBe("silent for 30 s (limit 30 s)");
  const deaf = viewOf(addDeaf(newVantage(), { from: at(10), to: at(70), cause: "store_unreachable" }), "workers");
  expect(judge("unknown", 89, { vantage: deaf })).toMatchObject({ kind: "leave_alone", reason: "doubted" });
  expect(told(judge("unknown", 90, { vantage: deaf }))).toBe(
    "silent for 30 s (limit 30 s, not counting 60 s in which it could not be heard)",
  );
});

test("a frozen watcher doubts from the limit on, and not before", () => {
  const frozen = { ...wideAwake, mode: "frozen" } as const;
  expect([29.999, 30].map((now) => judge("unknown", now, { vantage: frozen }))).toMatchObject([{ reason: "heard" }, { reason: "doubted" }]);
});

test("when many fell silent together the limit doubles once; a frozen watcher ends nobody by silence", () => {
  const limited = { ...wideAwake, mode: "limited" } as const;
  expect([59, 60].map((now) => judge("unknown", now, { vantage: limited }).kind)).toEqual(["leave_alone", "dead"]);
  expect(judge("unknown", 9000, { vantage: { ...wideAwake, mode: "frozen" } })).toMatchObject({ kind: "leave_alone", reason: "doubted" });
  expect(judge("dead", 1, { vantage: { ...wideAwake, mode: "frozen" } }).kind).toBe("dead");
});

test("a process that is proved alive is never seized by silence", () => {
  expect(judge("alive", 9000)).toMatchObject({ kind: "leave_alone", reason: "alive_but_silent" });
});

test("with a host conflict pids prove nothing", () => {
  expect(judge("dead", 1, { hostConflict: true }).kind).toBe("leave_alone");
  expect(judge("alive", 30, { hostConflict: true })).toMatchObject({ kind: "dead", reason: "silent" });
});
