import { expect, test } from "vitest";
import { jsonNestingMax } from "../../domain/json-nesting.ts";
import { PermanentError } from "./handler-context.ts";
import { endAfterRequest, endOfOutput, endOfThrown, isThenable } from "./handler-end.ts";

const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)]);

test("an output is kept as JSON, and none is none", () => {
  expect([undefined, null].map(endOfOutput)).toEqual([
    { kind: "returned", output: undefined },
    { kind: "returned", output: undefined },
  ]);
  expect([{ pages: 3 }, 0, false, "", nested(jsonNestingMax)].map(endOfOutput)).toMatchObject([
    { kind: "returned", output: '{"pages":3}' },
    { kind: "returned", output: "0" },
    { kind: "returned", output: "false" },
    { kind: "returned", output: '""' },
    { kind: "returned" },
  ]);
});

test.each([
  [
    "a cycle",
    () => {
      const cycle: Record<string, unknown> = {};
      cycle["self"] = cycle;
      return cycle;
    },
    "not JSON",
  ],
  ["a bigint", () => 1n, "not JSON"],
  ["a function", () => () => 1, "a function, which JSON cannot hold"],
  ["more than a megabyte", () => "x".repeat(1_048_576), "at most 1048576"],
  ["a megabyte in fewer characters", () => "\u20ac".repeat(360_000), "at most 1048576"],
  ["too deep", () => nested(jsonNestingMax + 1), "too deep"],
])("an output that is %s is bad output, and says why", (_, output, message) => {
  expect(endOfOutput(output())).toEqual({ kind: "bad_output", why: expect.stringContaining(message) });
});

test("what was thrown is told with its message, and whether another attempt could help", () => {
  expect(endOfThrown(new Error("no paper"))).toEqual({ kind: "threw", message: "no paper", permanent: false });
  expect(endOfThrown(new PermanentError("no such page"))).toEqual({ kind: "threw", message: "no such page", permanent: true });
});

test("whoever throws because it was asked to stop did as it was told; what it returns, or can never do, still counts", () => {
  const asked = { kind: "released", why: "the worker shut down" } as const;
  const returned = endOfOutput(3);
  const never = endOfThrown(new PermanentError("never"));
  expect(endAfterRequest(asked, endOfThrown(new Error("aborted")))).toBe(asked);
  expect(endAfterRequest(asked, returned)).toBe(returned);
  expect(endAfterRequest(asked, never)).toBe(never);
});

test("past its timeout nothing counts that a handler does", () => {
  const asked = { kind: "timed_out", afterMs: 5 } as const;
  for (const end of [endOfOutput(3), endOfThrown(new Error("aborted")), endOfThrown(new PermanentError("never"))])
    expect(endAfterRequest(asked, end)).toBe(asked);
});

test("a promise of another make is one; a value that merely has a field of that name is not", () => {
  expect([Promise.resolve(), { then: () => undefined }, { then: 1 }, null, "then"].map(isThenable)).toEqual([
    true,
    true,
    false,
    false,
    false,
  ]);
});
