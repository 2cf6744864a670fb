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

/** More lines than a reader holds in mind: such a file has a second noun in it. */
export const lineLimit = 450;

/** Files that may be longer, each with its reason. An entry that is short again fails, so that the list never outlives its reasons. */
const longFiles: Readonly<Record<string, string>> = {};

/** The one place where a test waits for time to pass: it polls a condition of a real process and gives up at a deadline. */
const waitingAllowedIn = ["test/support/until.ts"];

const vagueNames = new Set(["utils", "util", "helpers", "helper", "common", "misc", "shared"]);

// Written apart so that this file does not find itself.
const unfinished = new RegExp(`\\b(${["TO", "DO"].join("")}|${["FIX", "ME"].join("")}|${["XX", "X"].join("")})\\b`);
const homeFolder = /(?<![\w.~$}-])(\/home\/[a-z][\w.-]*\/|\/Users\/[A-Za-z][\w.-]*\/|\/root\/|[A-Z]:\\+Users\\)/;

/** Looks for what must not be left lying about. Pure: the files are given, nothing is read. */
export function findUntidiness(files: readonly SourceFile[], options: TidyOptions): Untidiness[] {
  const missing = Object.keys(longFiles)
    .filter((path) => !files.some((file) => file.path === path && lineCount(file.text) > lineLimit))
    .map((path) => ({ path, line: 1, message: "is listed as a long file in scripts/tidy.ts and is none: remove the entry" }));
  return [...missing, ...files.flatMap((file) => [...nameAndSize(file), ...lineByLine(file, options), ...inTests(file)])];
}

function nameAndSize({ path, text }: SourceFile): Untidiness[] {
  const found: Untidiness[] = [];
  const vague = path
    .replace(/\.\w+$/, "")
    .split("/")
    .find((part) => vagueNames.has(part));
  if (vague !== undefined) found.push({ path, line: 1, message: `"${vague}" says nothing: name what the file is about` });
  const lines = lineCount(text);
  if (path.endsWith(".ts") && lines > lineLimit && longFiles[path] === undefined) {
    found.push({ path, line: lineLimit, message: `${lines} lines, more than ${lineLimit}: give its second noun a file of its own` });
  }
  return found;
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

function inTests({ path, text }: SourceFile): Untidiness[] {
  if (!path.endsWith(".ts") || !(isTestFile(path) || path.startsWith("test/"))) return [];
  const { testCalls, imports, sleeps, uses, comments } = parseModule(path, text);
  const found: Untidiness[] = [];
  const explained = (line: number): boolean => comments.some(({ firstLine, lastLine }) => lastLine === line - 1 || firstLine === line);
  for (const { modifiers, line } of testCalls) {
    if (modifiers.includes("only")) found.push({ path, line, message: ".only leaves every other test out" });
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

const lineCount = (text: string): number => text.split("\n").length - (text.endsWith("\n") ? 1 : 0);
