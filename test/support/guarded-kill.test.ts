import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, test } from "vitest";
import { present } from "./present.ts";

test.each([0, 1, -1, Number.NaN, 1.5])("a test cannot signal pid %s, which would end more than one process", (pid) => {
  expect(() => process.kill(pid, "SIGCONT")).toThrow(RangeError);
  expect(() => process.kill(pid)).toThrow(RangeError);
});

test("a test can end its own child and look whether a process lives", async () => {
  const child = spawn("sleep", ["600"]);
  expect(process.kill(present(child.pid), 0)).toBe(true);
  process.kill(present(child.pid), "SIGKILL");
  expect(await once(child, "exit")).toEqual([null, "SIGKILL"]);
});
