import { expect, test } from "vitest";
import { findLongComments } from "./comment-length.ts";

const words = (count: number): string => Array.from({ length: count }, (_, at) => `word${at}`).join(" ");
const found = (text: string) => findLongComments({ path: "src/a.ts", text }).map((each) => `${each.line}: ${each.words}`);

test("a comment of forty words passes, and one more word does not", () => {
  expect(found(`/** ${words(40)} */\nconst a = 1;\n`)).toEqual([]);
  expect(found(`const b = 1;\n/** ${words(41)} */\nconst a = 1;\n`)).toEqual(["2: 41"]);
});

test("lines of // that follow each other are one comment, others are their own", () => {
  expect(found(`// ${words(25)}\n// ${words(25)}\nconst a = 1;\n`)).toEqual(["1: 50"]);
  expect(found(`// ${words(25)}\n\n// ${words(25)}\nconst a = 1; // ${words(25)}\n// ${words(25)}\n`)).toEqual([]);
});

test("prose and each tag count by themselves, and an example does not count", () => {
  const tagged = (prose: number, param: number) =>
    `/**\n * ${words(prose)}\n *\n * @param a - ${words(param)}\n * @example\n * ${words(90)}\n */\nconst a = 1;\n`;
  expect(found(tagged(40, 30))).toEqual([]);
  expect(found(tagged(41, 30))).toEqual(["1: 41"]);
  expect(found(tagged(10, 50))).toEqual(["1: 53"]);
});

test("what a text holds is no comment", () => {
  expect(found(`const a = "/* ${words(60)} */";\nconst b = \`// ${words(60)}\`;\n`)).toEqual([]);
});
