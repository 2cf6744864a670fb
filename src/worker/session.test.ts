import { expect, onTestFinished, test, vi } from "vitest";
import { WakefulError } from "../domain/errors.ts";
import { asHostId, asRunId, asWorkerId, type RunId, type WorkerId } from "../domain/ids.ts";
import type { EventName } from "../telemetry/events.ts";
import { Session, type SessionOptions } from "./session.ts";

type Backend = SessionOptions["backend"];

async function open(options: Partial<SessionOptions> = {}) {
  let registered = 0;
  const lost: RunId[] = [];
  const sessions: WorkerId[] = [];
  const told: EventName[] = [];
  const backend = {
    hello: vi.fn<Backend["hello"]>(async () => asWorkerId(++registered)),
    renew: vi.fn<Backend["renew"]>(async () => ({ state: "live", lost: [] })),
    drain: vi.fn<Backend["drain"]>(async () => undefined),
    leave: vi.fn<Backend["leave"]>(async () => undefined),
  };
  const renewed = vi.fn();
  const session = await Session.open({
    backend,
    newHelloId: () => `hello-${registered}`,
    hello: {
      name: "w",
      kind: "command",
      process: { hostId: asHostId("h"), bootId: "b", pidNamespace: "n", pid: 1, startTime: "1" },
      concurrency: 1,
      queues: [],
    },
    worker: {
      held: () => [asRunId(7), asRunId(8)],
      claimSeqReceived: 3,
      lose: (runId) => lost.push(runId),
      changeSession: (workerId) => sessions.push(workerId),
    },
    renewMs: 1_000_000,
    onRenewed: renewed,
    emit: (name) => told.push(name),
    ...options,
  });
  return { session, backend, lost, sessions, told, renewed };
}

test("each renewal names what is held, and what is lost is let go of", async () => {
  const { session, backend, lost, renewed } = await open();
  backend.renew.mockResolvedValueOnce({ state: "live", lost: [{ runId: asRunId(8), why: "taken" }] });
  await session.renew();
  expect(backend.renew).toHaveBeenCalledWith({ workerId: 1, held: [7, 8], claimSeqReceived: 3 });
  expect(lost).toEqual([8]);
  expect(renewed).toHaveBeenCalledTimes(1);
});

test("each renewal carries how late the event loop was, where that was measured", async () => {
  const measured = [40, undefined];
  const { session, backend } = await open({ loopLagMs: () => measured.shift() });
  await session.renew();
  await session.renew();
  expect(backend.renew.mock.calls.map(([renewal]) => renewal.loopLagMs)).toEqual([40, undefined]);
});

test("declared dead while it lives: everything it held is lost, and a new session takes its place", async () => {
  const { session, backend, lost, sessions, told, renewed } = await open();
  backend.renew.mockResolvedValueOnce({ state: "dead", lost: [] });
  await session.renew();
  expect([lost, sessions, session.workerId]).toEqual([[7, 8], [2], 2]);
  expect(told).toContain("worker.fenced");
  expect(renewed).not.toHaveBeenCalled();
});

test("a store that does not answer is no reason to let go; one that has forgotten the session is one to open another", async () => {
  const { session, backend, lost, sessions, told } = await open();
  backend.renew.mockRejectedValueOnce(new Error("connection lost"));
  await session.renew();
  expect([lost, sessions]).toEqual([[], []]);
  expect(told.at(-1)).toBe("store.degraded");
  backend.renew.mockRejectedValueOnce(new WakefulError("not_found", "no such session"));
  await session.renew();
  expect([lost, sessions]).toEqual([[7, 8], [2]]);
});

test("after its goodbye it opens no session again, whatever a late answer says", async () => {
  const { session, backend, sessions } = await open();
  let answer: (value: Awaited<ReturnType<Backend["renew"]>>) => void = () => undefined;
  backend.renew.mockImplementationOnce(
    () =>
      new Promise((resolve) => {
        answer = resolve;
      }),
  );
  const renewing = session.renew();
  await session.close();
  answer({ state: "stopped", lost: [] });
  await renewing;
  await session.renew();
  expect(sessions).toEqual([]);
  expect(backend.hello).toHaveBeenCalledTimes(1);
  expect(backend.renew).toHaveBeenCalledTimes(1);
});

test("renewals of one session never overlap", async () => {
  const { session, backend } = await open();
  await Promise.all([session.renew(), session.renew(), session.renew()]);
  expect(backend.renew).toHaveBeenCalledTimes(1);
});

test("a renewal that takes longer than it may counts as failed, and the next is made; what the late answer says still holds", async () => {
  vi.useFakeTimers();
  onTestFinished(() => {
    vi.useRealTimers();
  });
  const { session, backend, lost, sessions, told, renewed } = await open({ renewTimeoutMs: 3000 });
  let answer: (value: Awaited<ReturnType<Backend["renew"]>>) => void = () => undefined;
  backend.renew.mockImplementationOnce(
    () =>
      new Promise((resolve) => {
        answer = resolve;
      }),
  );
  const renewing = session.renew();
  await vi.advanceTimersByTimeAsync(2999);
  expect(told).not.toContain("store.degraded");
  await vi.advanceTimersByTimeAsync(1);
  await renewing;
  expect(told.at(-1)).toBe("store.degraded");
  expect(renewed).not.toHaveBeenCalled();
  await session.renew();
  expect(backend.renew).toHaveBeenCalledTimes(2);
  expect(renewed).toHaveBeenCalledTimes(1);
  answer({ state: "live", lost: [{ runId: asRunId(7), why: "taken" }] });
  await vi.advanceTimersByTimeAsync(0);
  expect([lost, sessions]).toEqual([[7], []]);
  expect(renewed).toHaveBeenCalledTimes(1);
});
