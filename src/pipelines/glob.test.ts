import { expect, test } from "vitest";
import { parseGlob } from "./glob.ts";

const matches = (pattern: string, name: string): boolean => {
  const parsed = parseGlob(pattern);
  if (!parsed.ok) throw new Error(parsed.rule);
  return parsed.glob.matches(name);
};

test.each([
  ["*.cbz", "a.cbz"],
  ["*", "anything at all"],
  ["*.{cbz,cbr}", "x.cbr"],
  ["page-[0-9][!a-z].png", "page-17.png"],
  ["?", "é"],
  ["\\*.txt", "*.txt"],
  ["a*b*c", "aXbYbZc"],
  [".*", ".hidden"],
  ["[]x]", "]"],
])("%s matches %s", (pattern, name) => {
  expect(matches(pattern, name)).toBe(true);
});

test.each([
  ["*.cbz", "a.cbz.part"],
  ["*.cbz", "a.CBZ"],
  ["*", ".hidden"],
  ["*.{cbz,cbr}", "x.zip"],
  ["[!a]", "a"],
  ["?", ""],
  ["\\*.txt", "a.txt"],
])("%s does not match %s", (pattern, name) => {
  expect(matches(pattern, name)).toBe(false);
});

test.each(["", "a/b", "[a", "{a", "a}", "{a,{b}}", "a\\", "\0", "x".repeat(257), "{a,b}".repeat(7)])("%j is no glob", (pattern) => {
  expect(parseGlob(pattern).ok).toBe(false);
});

test("many stars against a long name stay cheap", () => {
  expect(matches(`${"*a".repeat(100)}b`, "a".repeat(255))).toBe(false);
});
