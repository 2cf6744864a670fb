import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { brokenLinks } from "./doc-links.ts";
import { readSources, repositoryRoot } from "./source-tree.ts";

test("every relative link of the pages leads to a file, and every anchor to a heading [C-106]", () => {
  const pages = readSources({ folders: ["docs", "README.md", "CHANGELOG.md", "examples", "bench", "deploy"], endings: [".md"] });
  expect(pages.length).toBeGreaterThan(10);
  expect(brokenLinks(pages, (path) => existsSync(join(repositoryRoot, path)))).toEqual([]);
});

const page = (path: string, text: string) => ({ path, text });
const nothingElse = (): boolean => false;

test("a link to a missing file, a missing heading or out of the repository is found with its line", () => {
  const pages = [page("docs/a.md", "# A\n\n[b](b.md) [c](c.md)\n[d](b.md#nowhere) [e](../../x.md)\n[f](#gone)"), page("docs/b.md", "# B")];
  expect(brokenLinks(pages, nothingElse)).toEqual([
    { path: "docs/a.md", line: 3, message: "c.md: there is no docs/c.md" },
    { path: "docs/a.md", line: 4, message: "b.md#nowhere: docs/b.md has no heading of that name" },
    { path: "docs/a.md", line: 4, message: "../../x.md: there is no ../x.md" },
    { path: "docs/a.md", line: 5, message: "#gone: docs/a.md has no heading of that name" },
  ]);
});

test("headings are named as Markdown names them", () => {
  const text =
    "# Start: the `why`\n## Twice\n## Twice\n```\n# no heading [x](gone.md)\n```\n[1](#start-the-why) [2](#twice) [3](#twice-1) [4](https://x.y/z)";
  expect(brokenLinks([page("a.md", text)], nothingElse)).toEqual([]);
  expect(brokenLinks([page("a.md", "`[x](gone.md)` [y](#no-heading)")], nothingElse)).toHaveLength(1);
});
