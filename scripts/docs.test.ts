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
    export interface WakefulEvents {
      "a.done": { readonly x: number; readonly "y-z": string };
      "b.done": Ref & { readonly x: number };
      "c.done": Ref;
    }
    interface Ref { readonly id: number }`;
  expect(readEventFields("events.ts", source)).toEqual({ "a.done": ["x", "y-z"], "b.done": ["id", "x"], "c.done": ["id"] });
});

test("an event whose fields cannot be listed fails", () => {
  expect(() => readEventFields("events.ts", 'interface WakefulEvents { "a.done": Record<string, number> }')).toThrow("no interface Record");
  expect(() => readEventFields("events.ts", "interface Other {}")).toThrow("no interface WakefulEvents");
});
