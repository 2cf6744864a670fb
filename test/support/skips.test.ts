import { expect, test } from "vitest";
import { skipped } from "./skips.ts";

test("a skipped part is noted on its test with the reason, once per call", ({ task }) => {
  skipped("one shell is not installed");
  skipped("nor is another");
  expect(task.meta.skips).toEqual(["one shell is not installed", "nor is another"]);
  // Taken back, since nothing was skipped here.
  delete task.meta.skips;
});
