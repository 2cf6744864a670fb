import { expect, test } from "vitest";
import type { EmittedEvent } from "../telemetry/events.ts";
import { type StopMode, type StopOptions, type StoppableParts, stopDaemon } from "./stop-daemon.ts";

const never = (): Promise<never> => new Promise(() => undefined);

/** Parts that write down what was asked of them; `hung` ones never answer. Without one the deadline is far. */
function partsThat(hung: readonly string[], deadlineMs = hung.length === 0 ? 600_000 : 60) {
  const asked: string[] = [];
  const events: Pick<EmittedEvent, "name" | "data">[] = [];
  const part = (name: string) => async (): Promise<void> => {
    asked.push(name);
    if (hung.includes(name)) await never();
  };
  const parts: StoppableParts = {
    session: { drain: part("session.drain"), close: part("session.close") },
    handlers: { stop: part("handlers.stop") },
    worker: { leave: part("worker.leave"), drain: part("worker.drain"), stopAll: part("worker.stopAll") },
    paths: { close: () => void asked.push("paths.close") },
    loops: { stop: part("loops.stop"), stopBlocked: part("loops.stopBlocked") },
    server: { close: part("server.close") },
    metrics: { close: () => void asked.push("metrics.close") },
    store: { close: part("store.close") },
  };
  const options: StopOptions = {
    emit: (name, data) => events.push({ name, data }),
    mono: () => performance.now(),
    stopWithinMs: 10,
    deadlineMs,
  };
  return { parts, options, asked, events };
}

const everyStep = ["session.drain", "handlers.stop", "worker.leave", "loops.stop", "session.close", "server.close", "store.close"];

test.each(everyStep)("%s that never ends is named, and every other part is stopped all the same", async (hung) => {
  const { parts, options, asked, events } = partsThat([hung]);
  const report = await stopDaemon("leave", parts, options);
  expect(asked).toEqual(expect.arrayContaining(everyStep));
  expect([report.late.length, report.failed]).toEqual([expect.any(Number), []]);
  const told = events.filter(({ name }) => name === "daemon.stop_late").map(({ data }) => (data as { step: string }).step);
  expect([told, report.late.length > 0]).toEqual([report.late, true]);
});

test("a part that fails is told, and the store is closed", async () => {
  const { parts, options, asked } = partsThat([]);
  const session = { ...parts.session, drain: () => Promise.reject(new Error("the connection is gone")) };
  const report = await stopDaemon("leave", { ...parts, session }, options);
  expect(report).toEqual({ late: [], failed: [expect.stringContaining("the connection is gone")] });
  expect(asked.at(-1)).toBe("store.close");
});

test("draining waits for work beyond the deadline, and its steps after that are bounded", async () => {
  const { parts, options, events } = partsThat(["loops.stop"], 30);
  let mono = 0;
  const drain = async (): Promise<void> => {
    mono += 3_600_000;
  };
  const report = await stopDaemon("drain", { ...parts, worker: { ...parts.worker, drain } }, { ...options, mono: () => mono });
  expect(report.late).toEqual(["stop the loops"]);
  expect(events.map(({ name }) => name)).toEqual(["daemon.stop_late", "daemon.stopped"]);
});

test.each<StopMode>(["leave", "drain", "interrupt"])("a stop in the way %s that goes well reports nothing", async (mode) => {
  const { parts, options, events } = partsThat([]);
  expect(await stopDaemon(mode, parts, options)).toEqual({ late: [], failed: [] });
  expect(events).toEqual([{ name: "daemon.stopped", data: { reason: mode, late: [], failed: [] } }]);
});
