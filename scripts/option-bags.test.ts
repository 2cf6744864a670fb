import { expect, test } from "vitest";
import { findLargeBags } from "./option-bags.ts";

const bag = (name: string, count: number, heritage = ""): string =>
  `export interface ${name} ${heritage}{ ${Array.from({ length: count }, (_, at) => `readonly ${name.toLowerCase()}${at}: number;`).join(" ")} }\n`;

const messagesFor = (text: string, path = "src/a.ts"): string[] =>
  findLargeBags([{ path, text }]).map(({ line, message }) => `${line}: ${message}`);

test("a bag of more than ten members is refused, with its place and their number", () => {
  expect(messagesFor(`\n${bag("AOptions", 11)}`)).toEqual(["2: AOptions has 11 members: group what travels together (at most 10)"]);
  expect(messagesFor(bag("AOptions", 10))).toEqual([]);
});

test("what a bag extends is counted with it, as far as Pick and Omit say, also from another file", () => {
  const other = { path: "src/b.ts", text: bag("BOptions", 8) };
  const count = (heritage: string): number => findLargeBags([other, { path: "src/a.ts", text: bag("ADeps", 4, heritage) }]).length;
  expect(count("extends BOptions ")).toBe(1);
  expect(count('extends Pick<BOptions, "boptions0" | "boptions1"> ')).toBe(0);
  expect(count('extends Omit<BOptions, "boptions0" | "boptions1"> ')).toBe(0);
  expect(count('extends Omit<BOptions, "boptions0"> ')).toBe(1);
});

test("rows, wire formats and tests are no bags", () => {
  expect(messagesFor(bag("JobRow", 20) + bag("HostSetup", 20))).toEqual([]);
  expect(messagesFor(bag("AOptions", 20), "src/a.test.ts")).toEqual([]);
  expect(messagesFor(bag("AOptions", 20), "test/support/a.ts")).toEqual([]);
});
