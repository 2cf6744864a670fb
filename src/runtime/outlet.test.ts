import { Writable } from "node:stream";
import { expect, test } from "vitest";
import { Outlet } from "./outlet.ts";

/** A stream whose reader reads when it is told to. */
class HeldStream extends Writable {
  readonly read: string[] = [];
  #waiting: (() => void) | undefined;
  held = true;

  override _write(chunk: Buffer, _: unknown, done: () => void): void {
    this.read.push(chunk.toString());
    if (this.held) this.#waiting = done;
    else done();
  }

  release(): void {
    this.held = false;
    this.#waiting?.();
  }
}

function heldOutlet() {
  const stream = new HeldStream();
  let now = 0;
  const opened: Writable[] = [];
  const outlet = new Outlet({
    open: () => {
      const next = opened.length === 0 ? stream : new HeldStream();
      opened.push(next);
      return { stream: next, finish: () => new Promise((resolve) => next.write("", () => resolve())) };
    },
    mono: () => now,
  });
  const told: number[] = [];
  outlet.onDropped((texts) => told.push(texts));
  return { outlet, stream, opened, told, pass: (ms: number) => (now += ms) };
}

const line = `${"x".repeat(1023)}\n`;

test("a reader that stands still keeps nobody: about a megabyte waits, the rest is dropped whole and counted [F-8.6]", async () => {
  const { outlet, stream, told } = heldOutlet();
  for (let at = 0; at < 2_000; at += 1) outlet.write(line);
  expect(stream.writableLength).toBeLessThanOrEqual(1024 * 1024 + 2 * line.length);
  expect(told).toEqual([]);
  const drained = new Promise((resolve) => stream.once("drain", resolve));
  stream.release();
  await drained;
  outlet.write("after\n");
  const kept = stream.read.length - 1;
  expect(told).toEqual([2_000 - kept]);
  expect(kept).toBeGreaterThan(1_000);
  expect(
    stream.read.every((text) => text === line || text === "after\n"),
    "no line is cut",
  ).toBe(true);
});

test("a broken stream fails no write; another one is opened a second later at the earliest, and the loss is told", async () => {
  const { outlet, stream, opened, told, pass } = heldOutlet();
  outlet.write("a");
  stream.destroy(new Error("the reader has gone"));
  await new Promise((resolve) => stream.once("close", resolve));
  outlet.write("b");
  pass(999);
  outlet.write("c");
  expect(opened.length).toBe(1);
  pass(1);
  outlet.write("d");
  expect(opened.length).toBe(2);
  expect(told).toEqual([2]);
});

test("a stream that is dead from the start is left alone, and every text counts as dropped", () => {
  let opened = 0;
  const dead = new Writable();
  dead.destroy();
  const outlet = new Outlet({ open: () => ({ stream: dead, finish: async () => undefined, opened: (opened += 1) }), mono: () => 0 });
  outlet.write("a");
  outlet.write("b");
  expect(opened).toBe(1);
});

test("an end waits for the reader, but not for ever, and takes no more texts", async () => {
  const patient = heldOutlet();
  patient.outlet.write("last words");
  const ended = patient.outlet.end(600_000);
  patient.stream.release();
  await ended;
  patient.outlet.write("too late");
  expect(patient.stream.read.filter((text) => text !== "")).toEqual(["last words"]);

  const stuck = heldOutlet();
  stuck.outlet.write("last words");
  await stuck.outlet.end(1);
  expect(stuck.stream.writableLength).toBeGreaterThan(0);
  await heldOutlet().outlet.end(600_000);
});
