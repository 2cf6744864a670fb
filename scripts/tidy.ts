import { findLongComments } from "./comment-length.ts";
import { parseModule } from "./parsed-module.ts";
import type { SourceFile } from "./source-tree.ts";
import { isTestFile } from "./source-tree.ts";

export interface Untidiness {
  readonly path: string;
  readonly line: number;
  readonly message: string;
}

export interface TidyOptions {
  /** Absolute paths that would betray the machine the code was written on, beside the usual home folders. */
  readonly machinePaths: readonly string[];
}

/** The one place where a test waits for time to pass: it polls a condition of a real process and gives up at a deadline. */
const waitingAllowedIn = ["test/support/until.ts"];

const vagueNames = new Set(["utils", "util", "helpers", "helper", "common", "misc", "shared"]);

// Written apart so that this file does not find itself.
const unfinished = new RegExp(`\\b(${["TO", "DO"].join("")}|${["FIX", "ME"].join("")}|${["XX", "X"].join("")})\\b`);
const homeFolder = /(?<![\w.~$}-])(\/home\/[a-z][\w.-]*\/|\/Users\/[A-Za-z][\w.-]*\/|\/root\/|[A-Z]:\\+Users\\)/;

/** Looks for what must not be left lying about. Pure: the files are given, nothing is read. */
export function findUntidiness(files: readonly SourceFile[], options: TidyOptions): Untidiness[] {
  return files.flatMap((file) => [...vagueName(file), ...lineByLine(file, options), ...longComments(file), ...inTests(file)]);
}

function vagueName({ path }: SourceFile): Untidiness[] {
  const vague = path
    .replace(/\.\w+$/, "")
    .split("/")
    .find((part) => vagueNames.has(part));
  return vague === undefined ? [] : [{ path, line: 1, message: `"${vague}" says nothing: name what the file is about` }];
}

function lineByLine({ path, text }: SourceFile, { machinePaths }: TidyOptions): Untidiness[] {
  return text.split("\n").flatMap((content, index) => {
    const found: Untidiness[] = [];
    const mark = unfinished.exec(content);
    if (mark !== null) found.push({ path, line: index + 1, message: `${mark[0]}: finish it, or write down where it is decided` });
    const machinePath = homeFolder.exec(content)?.[0] ?? machinePaths.find((candidate) => content.includes(candidate));
    if (machinePath !== undefined) found.push({ path, line: index + 1, message: `${machinePath} is a path of one machine` });
    return found;
  });
}

/** What needs more words is a page of docs/ with a link to it. */
function longComments(file: SourceFile): Untidiness[] {
  if (!file.path.endsWith(".ts")) return [];
  return findLongComments(file).map(({ path, line, words }) => ({
    path,
    line,
    message: `a comment of ${words} words: say why in at most 40, and the rest in docs/`,
  }));
}

function inTests({ path, text }: SourceFile): Untidiness[] {
  if (!path.endsWith(".ts") || !(isTestFile(path) || path.startsWith("test/"))) return [];
  const { testCalls, imports, sleeps, uses, comments } = parseModule(path, text);
  const found: Untidiness[] = [];
  const explained = (line: number): boolean => comments.some(({ firstLine, lastLine }) => lastLine === line - 1 || firstLine === line);
  for (const { modifiers, line } of testCalls) {
    const absent = modifiers.find((modifier) => ["skip", "skipIf", "runIf", "todo", "fails"].includes(modifier));
    if (absent !== undefined && !explained(line)) found.push({ path, line, message: `.${absent} needs a comment above it that says why` });
  }
  if (waitingAllowedIn.includes(path)) return found;
  const sleeping = "sleeps: wait for an event, step an injected clock, or poll with until() of test/support/until.ts";
  for (const line of sleeps) found.push({ path, line, message: sleeping });
  for (const { specifier, line, names } of imports) {
    if (/^(node:)?timers\/promises$/.test(specifier) && (names.length === 0 || names.includes("setTimeout")))
      found.push({ path, line, message: sleeping });
  }
  for (const { name, line } of uses) {
    if (name === "Atomics.wait" || name === "scheduler.wait") found.push({ path, line, message: sleeping });
  }
  return found;
}
