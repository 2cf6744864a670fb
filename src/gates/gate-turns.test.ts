import { afterEach, expect, test, vi } from "vitest";
import type { GateDefinition } from "../pipelines/definition.ts";
import { type GateAnswer, green } from "./gate-answer.ts";
import { GateTurns } from "./gate-turns.ts";

const file: GateDefinition = { kind: "file", path: "final.pdf", anyAge: true };
const command: GateDefinition = { kind: "command", argv: ["true"] };
const never = new AbortController().signal;

afterEach(() => vi.useRealTimers());

/** A reading that a disk holds: it heeds no signal, and returns when the test says so. */
function held() {
  let letGo: (answer: GateAnswer) => void = () => undefined;
  const reading = new Promise<GateAnswer>((resolve) => {
    letGo = resolve;
  });
  return { read: vi.fn(async () => await reading), letGo: () => letGo(green) };
}

/** Turns with limits that the test's timers pass at once. */
function turns(commandsAtOnce = 4) {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const all = new GateTurns({ commandsAtOnce });
  let subjects = 0;
  return {
    read: async (
      gate: GateDefinition,
      read: (signal: AbortSignal) => Promise<GateAnswer>,
      options: { subject?: string; signal?: AbortSignal } = {},
    ) =>
      await all.read(gate, { subject: options.subject ?? `item ${++subjects}`, timeoutMs: 30_000, signal: options.signal ?? never }, read),
  };
}

const pass = async (ms: number) => await vi.advanceTimersByTimeAsync(ms);

test("a reading that does not return is unreadable at the time limit, and told to end", async () => {
  const { read } = turns();
  let signal: AbortSignal | undefined;
  const answer = read(file, async (given) => {
    signal = given;
    return await new Promise<never>(() => undefined);
  });
  await pass(29_999);
  expect(signal?.aborted).toBe(false);
  await pass(1);
  expect(await answer).toEqual({ kind: "unreadable", error: "no answer within 30000 ms" });
  expect(signal?.aborted).toBe(true);
});

test("file gates on a disk that does not answer keep two places, ever, and no gate of commands waits for them", async () => {
  const { read } = turns();
  const stuck = held();
  const first = Array.from({ length: 6 }, () => read(file, stuck.read));
  expect(await read(command, async () => green)).toEqual(green);
  await pass(31_000);
  expect((await Promise.all(first)).map(({ kind }) => kind)).toEqual(Array(6).fill("unreadable"));
  expect(stuck.read).toHaveBeenCalledTimes(2);
  // Nobody waits for what does not come: neither those that stood in the queue, nor those that ask later.
  expect(await read({ kind: "all", gates: [command, file] }, stuck.read)).toMatchObject({
    error: expect.stringContaining("have not returned"),
  });
  expect(stuck.read).toHaveBeenCalledTimes(2);
  expect(await read(command, async () => green)).toEqual(green);
});

test("one item whose disk does not answer keeps one place: it is not read again, and others are", async () => {
  const { read } = turns();
  const stuck = held();
  const first = read(file, stuck.read, { subject: "item 1" });
  await pass(31_000);
  expect(await first).toMatchObject({ kind: "unreadable" });
  expect(await read(file, stuck.read, { subject: "item 1" })).toMatchObject({ error: expect.stringContaining("an earlier reading of it") });
  expect(stuck.read).toHaveBeenCalledTimes(1);
  expect(await read(file, async () => green, { subject: "item 2" })).toEqual(green);
});

test("when its disk answers again everything is read as before", async () => {
  const { read } = turns();
  const stuck = held();
  const first = [read(file, stuck.read, { subject: "a" }), read(file, stuck.read, { subject: "b" })];
  await pass(31_000);
  await Promise.all(first);
  stuck.letGo();
  await pass(0);
  const again = ["a", "b", "c", "d", "e"].map((subject) => read(file, async () => green, { subject }));
  expect(await Promise.all(again)).toEqual(Array(5).fill(green));
});

test("a reading that takes a moment to end by the signal is not taken for one that never will", async () => {
  const { read } = turns(1);
  const slow = read(
    command,
    async (signal) => await new Promise((resolve) => signal.addEventListener("abort", () => setTimeout(() => resolve(green), 500))),
  );
  const next = read(command, async () => green);
  await pass(31_000);
  expect(await slow).toMatchObject({ kind: "unreadable" });
  expect(await next).toEqual(green);
});

test("whoever stops waiting has an answer at once, also in the queue", async () => {
  const { read } = turns(1);
  const stop = new AbortController();
  const stuck = held();
  const both = [read(command, stuck.read, { signal: stop.signal }), read(command, stuck.read, { signal: stop.signal })];
  stop.abort();
  const interrupted = { kind: "unreadable", error: "the reading was interrupted" };
  expect(await Promise.all(both)).toEqual([interrupted, interrupted]);
  expect(stuck.read).toHaveBeenCalledTimes(1);
});

test("what the reading throws reaches its asker, and its place is free again", async () => {
  const { read } = turns(1);
  await expect(read(file, async () => await Promise.reject(new Error("no such item")))).rejects.toThrow("no such item");
  expect(await read(file, async () => green)).toEqual(green);
});
