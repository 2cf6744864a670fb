import { expect, test } from "vitest";
import { parameterText } from "./parameter-text.ts";

test("values are written as the server reads them", () => {
  expect([null, undefined, 7, -1.5, true, "", "{}", 'a"\\'].map(parameterText)).toEqual([
    null,
    null,
    "7",
    "-1.5",
    "true",
    "",
    "{}",
    'a"\\',
  ]);
  expect([[], [1, null, 2], ["", "NULL", "a,b", 'c"d\\e', undefined], [true]].map(parameterText)).toEqual([
    "{}",
    "{1,NULL,2}",
    '{"","NULL","a,b","c\\"d\\\\e",NULL}',
    "{true}",
  ]);
});

test("what is no value of a statement is refused, and not written as [object Object]", () => {
  for (const bad of [{}, new Date(0), Symbol("s"), 1n, [[1]], [{}]]) expect(() => parameterText(bad)).toThrow(TypeError);
});
