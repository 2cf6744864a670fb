import { expect, test } from "vitest";
import { busAt, reaped } from "../../test/support/told-run.ts";
import { asHostId, asWorkerId } from "../domain/ids.ts";
import type { Emit, EventLevel } from "./events.ts";
import { logSubscriber } from "./log-subscriber.ts";

function linesOf(options: { json?: boolean; level?: EventLevel }, emit: (emit: Emit) => void): string[] {
  const lines: string[] = [];
  const bus = busAt(Date.UTC(2026, 0, 1));
  bus.subscribe(logSubscriber({ ...options, write: (line) => void lines.push(line) }));
  emit(bus.emit);
  return lines;
}

test("each reap logs one warning with job, agent, repo, run, pid, outcome and reason [B-63]", () => {
  const [line, ...more] = linesOf({ json: true }, (emit) => emit("run.reaped", reaped));
  expect(more).toEqual([]);
  expect(JSON.parse(line ?? "")).toEqual({
    level: "warn",
    service: "wakeful",
    timestamp: "2026-01-01T00:00:00.000Z",
    event: "run.reaped",
    message: "A reaper ended a run.",
    ...reaped,
  });
});

test("a healthy tick logs nothing [B-63]", () => {
  for (const json of [true, false]) {
    expect(
      linesOf({ json }, (emit) => emit("loop.ticked", { loop: "job-reaper", seen: 3, settled: 0, lost: 0, failed: 0, tookMs: 1 })),
    ).toEqual([]);
  }
});

test("the level decides what is written", () => {
  const emitAll = (emit: Emit) => {
    emit("disk.low", { path: "/", freeBytes: 1, needBytes: 2, freeInodes: null, needInodes: 0 });
    emit("worker.left", { workerId: asWorkerId(1) });
    emit("host.suspended", { hostId: asHostId("h"), forMs: 5 });
  };
  for (const json of [true, false]) {
    expect(linesOf({ json, level: "error" }, emitAll)).toHaveLength(1);
    expect(linesOf({ json, level: "warn" }, emitAll)).toHaveLength(2);
    expect(linesOf({ json, level: "debug" }, emitAll)).toHaveLength(3);
  }
});

test("a text line is one line, whatever a field holds", () => {
  const [line] = linesOf({}, (emit) => emit("defect.found", { where: "GET /", message: "a\nb\u001b[31m\u009b1m\u202e" }));
  expect(line?.trimEnd()).toMatch(/^2026-01-01 00:00:00\.000Z ERROR defect\.found/);
  for (const forbidden of ["\n", "\u001b", "\u009b", "\u202e"]) expect(line?.trimEnd()).not.toContain(forbidden);
});

test("an event's own message stands as the message", () => {
  const [line] = linesOf({ json: true }, (emit) => emit("loop.failed", { loop: "stopper", message: "the disk is gone" }));
  expect(JSON.parse(line ?? "")).toMatchObject({ message: "the disk is gone", loop: "stopper", event: "loop.failed" });
});
