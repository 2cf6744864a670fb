import { expect, test } from "vitest";
import { until } from "./until.ts";

test("the first truthy answer is returned, also 0 and the empty string, which are answers", async () => {
  const answers = [undefined, false, null, 0];
  expect(await until(() => answers.shift(), { everyMs: 1 })).toBe(0);
  expect(await until(() => Promise.resolve(""), { everyMs: 1 })).toBe("");
});

test("a look that throws counts as not yet", async () => {
  let looks = 0;
  const look = (): string => {
    looks += 1;
    if (looks < 3) throw new Error("no such file");
    return "there";
  };
  expect(await until(look, { everyMs: 1 })).toBe("there");
});

test("at the deadline the error says what was awaited and what was seen last", async () => {
  const never = (): boolean => false;
  await expect(until(never, { timeoutMs: 5, everyMs: 1, what: "the run to end" })).rejects.toThrow(
    /waited 5 ms \(\d+ looks\) for the run to end; last answer: false/,
  );
  const broken = (): never => {
    throw new Error("no such file");
  };
  await expect(until(broken, { timeoutMs: 5, everyMs: 1 })).rejects.toThrow(/last error: Error: no such file/);
});
