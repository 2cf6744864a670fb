import { Duplex, PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { until } from "../../../test/support/until.ts";
import { WakefulError } from "../../domain/errors.ts";
import { PipeChannel, type PipeChannelOptions } from "./pipe-channel.ts";

/** Two ends of one pipe. */
function pair(left: Omit<PipeChannelOptions, "stream"> = {}, right: Omit<PipeChannelOptions, "stream"> = {}) {
  const there = new PassThrough();
  const back = new PassThrough();
  const streams = [Duplex.from({ readable: back, writable: there }), Duplex.from({ readable: there, writable: back })] as const;
  return { left: new PipeChannel({ ...left, stream: streams[0] }), right: new PipeChannel({ ...right, stream: streams[1] }), streams };
}

test("calls are answered in their own time, whatever the order", async () => {
  const release: (() => void)[] = [];
  const { left } = pair({}, { verbs: { slow: (n: number) => new Promise((resolve) => release.push(() => resolve(n))) } });
  const answers = Promise.all([left.call("slow", 1), left.call("slow", 2)]);
  await until(() => release.length === 2);
  for (const go of release.toReversed()) go();
  expect(await answers).toEqual([1, 2]);
});

test("errors keep their code and details; others become internal ones", async () => {
  const { left } = pair(
    {},
    {
      verbs: {
        full: () => Promise.reject(new WakefulError("disk_full", "no space", { details: { path: "/x" } })),
        broken: () => Promise.reject(new TypeError("oops")),
      },
    },
  );
  await expect(left.call("full")).rejects.toMatchObject({
    code: "disk_full",
    retryable: true,
    message: "no space",
    details: { path: "/x" },
  });
  await expect(left.call("broken")).rejects.toMatchObject({ code: "internal", message: "oops" });
});

test.each(["absent", "toString", "__proto__", "constructor"])("the verb %s, which is not offered, is refused", async (verb) => {
  const { left } = pair({}, { verbs: { known: async () => 1 } });
  await expect(left.call(verb)).rejects.toMatchObject({ code: "forbidden" });
});

test("answers bring the other end's instant along", async () => {
  const instants: number[] = [];
  const { left } = pair({ onStamp: (at) => instants.push(at) }, { verbs: { ask: async () => undefined }, stamp: () => 42 });
  expect(await left.call("ask")).toBeUndefined();
  expect(instants).toEqual([42]);
});

test("lines are put together from whatever pieces they arrive in", async () => {
  const seen: unknown[] = [];
  const input = new PassThrough();
  const channel = new PipeChannel({
    stream: Duplex.from({ readable: input, writable: new PassThrough() }),
    onNote: (name, data) => seen.push([name, data]),
  });
  const bytes = Buffer.from(`${JSON.stringify({ note: "a", data: "\u20ac\n" })}\n${JSON.stringify({ note: "b" })}\n`);
  for (const byte of bytes) input.write(Buffer.from([byte]));
  await until(() => seen.length === 2);
  expect(seen).toEqual([
    ["a", "\u20ac\n"],
    ["b", undefined],
  ]);
  expect(channel.closed).toBe(false);
});

test("when the other end goes, what was asked is answered as unavailable, and it is told once", async () => {
  let closes = 0;
  const { left, right } = pair({ onClose: () => closes++ }, { verbs: { never: () => new Promise(() => undefined) } });
  const asked = left.call("never");
  right.close();
  await expect(asked).rejects.toMatchObject({ code: "unavailable" });
  await expect(left.call("never")).rejects.toMatchObject({ code: "unavailable" });
  left.close();
  expect(closes).toBe(1);
});

test("whoever writes what is no message is not listened to any longer", async () => {
  const input = new PassThrough();
  const notes: unknown[] = [];
  const channel = new PipeChannel({
    stream: Duplex.from({ readable: input, writable: new PassThrough() }),
    onNote: (name) => notes.push(name),
  });
  input.write('not json\n{"note":"later"}\n');
  await until(() => channel.closed);
  expect(notes).toEqual([]);
});
