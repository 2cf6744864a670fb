import { expect, test } from "vitest";
import { findLargeBags } from "./option-bags.ts";

const objectOf = (count: number): string => `{ ${Array.from({ length: count }, (_, at) => `member${at}: number;`).join(" ")} }`;

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

test("each declaration is judged, also where another file has one of its name, and inherits from its own file's", () => {
  const large = { path: "src/a.ts", text: bag("AOptions", 11) };
  const small = { path: "src/b.ts", text: bag("AOptions", 2) };
  for (const files of [
    [large, small],
    [small, large],
  ])
    expect(findLargeBags(files).map(({ path }) => path)).toEqual(["src/a.ts"]);
  const own = { path: "src/c.ts", text: `${bag("AOptions", 2)}${bag("BDeps", 4, "extends AOptions ")}` };
  expect(findLargeBags([large, own]).map(({ path }) => path)).toEqual(["src/a.ts"]);
});

test.each([
  ["an object type", `type ADeps = ${objectOf(11)};`, 1],
  ["one that is read only", `type ADeps = Readonly<${objectOf(11)}>;`, 1],
  ["an object type of ten members", `type ADeps = ${objectOf(10)};`, 0],
  ["an intersection", `${bag("BOptions", 8)} type ADeps = BOptions & (${objectOf(4)});`, 1],
  ["an intersection with a part", `${bag("BOptions", 8)} type ADeps = Omit<BOptions, "boptions0" | "boptions1"> & ${objectOf(4)};`, 0],
  ["an interface that extends an alias", `type Base = ${objectOf(8)}; ${bag("ADeps", 4, "extends Base ")}`, 1],
  ["an alias of data", `type AName = ${objectOf(20)};`, 0],
  ["an alias of a package's type of the same name", `type ADeps = Base & ${objectOf(4)}; type Base = ADeps & ${objectOf(2)};`, 0],
])("%s is judged by its members", (_, text, count) => {
  expect(messagesFor(text)).toHaveLength(count);
});

test("rows, wire formats and tests are no bags", () => {
  expect(messagesFor(bag("JobRow", 20) + bag("HostSetup", 20))).toEqual([]);
  expect(messagesFor(bag("AOptions", 20), "src/a.test.ts")).toEqual([]);
  expect(messagesFor(bag("AOptions", 20), "test/support/a.ts")).toEqual([]);
});
