import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { generatedDocuments } from "./documents.ts";
import { readEventFields } from "./event-fields.ts";
import { repositoryRoot } from "./source-tree.ts";

test.each(generatedDocuments)(
  "$path is what the code says; `npm run docs` writes it again [C-106]",
  async ({ path, make }) => {
    expect(readFileSync(join(repositoryRoot, path), "utf8")).toBe(await make());
    // Loading the whole API for its document takes seconds where other tests keep the machine busy.
  },
  60_000,
);

test("an event's fields are read from literals, interfaces and intersections of them", () => {
  const source = `
    interface Ref { readonly id: number }
    export const eventCatalogue = {
      "a.done": event<{ readonly x: number; readonly "y-z": string }>("info", "A."),
      "b.done": event<Ref & { readonly x: number }>("warn", "B."),
      "c.done": event<Ref>("debug", "C."),
    };`;
  expect(readEventFields("events.ts", source)).toEqual({ "a.done": ["x", "y-z"], "b.done": ["id", "x"], "c.done": ["id"] });
});

test.each([
  ["of an unknown type", 'const eventCatalogue = { "a.done": event<Record<string, number>>("info", "A.") };', "no interface Record"],
  ["of no type", 'const eventCatalogue = { "a.done": event("info", "A.") };', "not missing"],
  ["that is made otherwise", 'const eventCatalogue = { "a.done": { level: "info" } };', "an event is"],
  ["of a catalogue that is missing", "const other = {};", "no eventCatalogue"],
])("an event %s, whose fields cannot be listed, fails", (_, source, message) => {
  expect(() => readEventFields("events.ts", source)).toThrow(message);
});
