import { expect, test } from "vitest";
import { ControlStripper, withoutControls } from "./terminal-text.ts";

test.each([
  ["\u001b[31mred\u001b[0m", "red"],
  ["\u001b]0;title\u0007after", "after"],
  ["\u001b]8;;http://x\u001b\\link\u001b]8;;\u001b\\", "link"],
  ["\u009b2Jcleared", "cleared"],
  ["over\rwritten\b", "overwritten"],
  ["tab\tand\nline", "tab\tand\nline"],
  ["\u202egnp.exe", "gnp.exe"],
  ["\u001b(Bcharset", "charset"],
  ["\u001b[broken\nnext", "roken\nnext"],
  ["\u001b]never ended\nnext", "\nnext"],
])("terminal controls do not reach a terminal: %j", (given, kept) => {
  expect(withoutControls(given)).toBe(kept);
});

test("a control sequence that is cut in two is still removed", () => {
  const stripper = new ControlStripper();
  expect(["a\u001b", "[3", "1mb"].map((piece) => stripper.push(piece)).join("")).toBe("ab");
});
