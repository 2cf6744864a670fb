import { parseModule } from "./parsed-module.ts";
import type { SourceFile } from "./source-tree.ts";

/** A comment that nobody reads to its end. */
export interface LongComment {
  readonly path: string;
  readonly line: number;
  readonly words: number;
}

const wordsMax = 40;

/**
 * Comments of more than 40 words. The prose and each `@tag` count by themselves, an `@example` does not count. Lines that begin with `//` and
 * follow each other are one comment.
 */
export function findLongComments({ path, text }: SourceFile): LongComment[] {
  return blocksOf(path, text).flatMap(({ prose, line }) => {
    const words = Math.max(...partsOf(prose).map((part) => part.split(/\s+/).filter((word) => word !== "").length));
    return words > wordsMax ? [{ path, line, words }] : [];
  });
}

interface Block {
  readonly prose: string;
  readonly line: number;
  readonly lastLine: number;
  readonly mayGoOn: boolean;
}

function blocksOf(path: string, text: string): readonly Block[] {
  const lines = text.split("\n");
  const blocks: Block[] = [];
  for (const comment of parseModule(path, text).comments) {
    const mayGoOn = lines[comment.firstLine - 1]?.trimStart().startsWith("//") === true;
    const before = blocks.at(-1);
    if (before?.mayGoOn === true && mayGoOn && before.lastLine === comment.firstLine - 1) {
      blocks[blocks.length - 1] = { ...before, prose: `${before.prose}\n${comment.text}`, lastLine: comment.lastLine };
    } else blocks.push({ prose: comment.text, line: comment.firstLine, lastLine: comment.lastLine, mayGoOn });
  }
  return blocks;
}

function partsOf(prose: string): readonly string[] {
  return prose
    .replaceAll(/^[ \t]*\*[ \t]?/gm, "")
    .split(/^(?=@\w)/m)
    .filter((part) => !part.startsWith("@example"));
}
