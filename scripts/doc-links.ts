import { dirname, join, normalize } from "node:path";
import type { SourceFile } from "./source-tree.ts";

export interface BrokenLink {
  readonly path: string;
  readonly line: number;
  readonly message: string;
}

/**
 * The relative links of `pages` that lead nowhere: to a file that `exists` does not know, or to a heading that its page does not have.
 * Links of other sites are not followed. Pure but for `exists`.
 */
export function brokenLinks(pages: readonly SourceFile[], exists: (path: string) => boolean): BrokenLink[] {
  const anchors = new Map(pages.map(({ path, text }) => [path, anchorsOf(text)]));
  return pages.flatMap(({ path, text }) =>
    linksOf(text).flatMap(({ target, line }): BrokenLink[] => {
      if (/^[a-z][a-z+.-]*:/i.test(target)) return [];
      const [file = "", anchor] = target.split("#");
      const to = file === "" ? path : normalize(join(dirname(path), decodeURI(file)));
      if (to.startsWith("..") || (!exists(to) && !anchors.has(to))) return [{ path, line, message: `${target}: there is no ${to}` }];
      const known = anchors.get(to);
      if (anchor === undefined || known === undefined || known.has(anchor)) return [];
      return [{ path, line, message: `${target}: ${to} has no heading of that name` }];
    }),
  );
}

/** Links and images outside of code, each with its line. */
function linksOf(markdown: string): { readonly target: string; readonly line: number }[] {
  return proseOf(markdown).flatMap((text, index) =>
    [...text.matchAll(/\]\(<?([^()\s>]+)>?(?:\s+"[^"]*")?\)/g)].map((found) => ({ target: found[1] ?? "", line: index + 1 })),
  );
}

/** The anchors that a page's headings get where Markdown is shown: lower case, spaces as `-`, other marks dropped, repetitions numbered. */
function anchorsOf(markdown: string): Set<string> {
  const anchors = new Set<string>();
  for (const text of proseOf(markdown, { keepCode: true })) {
    const heading = /^#{1,6}\s+(.*?)\s*#*$/.exec(text)?.[1];
    if (heading === undefined) continue;
    const plain = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1").replaceAll(/[`*]/g, "");
    const anchor = plain
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
      .replaceAll(/\s/g, "-");
    let unique = anchor;
    for (let number = 1; anchors.has(unique); number++) unique = `${anchor}-${number}`;
    anchors.add(unique);
  }
  return anchors;
}

/** The page's lines, those of code blocks emptied, and code within a line too unless it is kept. */
function proseOf(markdown: string, { keepCode = false } = {}): string[] {
  let fence: string | undefined;
  return markdown.split("\n").map((line) => {
    const mark = /^\s*(```+|~~~+)/.exec(line)?.[1];
    if (fence !== undefined) {
      if (mark !== undefined && mark.startsWith(fence)) fence = undefined;
      return "";
    }
    if (mark !== undefined) {
      fence = mark;
      return "";
    }
    return keepCode ? line : line.replaceAll(/`[^`]*`/g, "");
  });
}
