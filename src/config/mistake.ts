import { WakefulError } from "../domain/errors.ts";
import { withoutPassword } from "./postgres-url.ts";

/** The path from the root of a configuration to a value in it. */
export type KeyPath = readonly (string | number)[];

/** One mistake in a configuration, before its place in a file is known. */
export interface Finding {
  readonly path: KeyPath;
  /** Point at the key rather than at its value, because the key is wrong. */
  readonly atKey?: boolean | undefined;
  readonly value: unknown;
  /** What the value must be, as the end of a sentence that begins with the value. */
  readonly rule: string;
  /** What was probably meant: a known key or value. */
  readonly hint?: string | undefined;
}

/** One mistake in a configuration, and its place. */
export interface ConfigMistake {
  /** The file, `environment`, `flags` or `code`. */
  readonly source: string;
  /** Dotted path of the key, or the variable's name. Empty: the whole configuration. */
  readonly path: string;
  /** From 1. Absent where the source has no lines. */
  readonly line?: number | undefined;
  /** From 1. */
  readonly column?: number | undefined;
  /** The value as written, shortened; secrets are masked. */
  readonly value: string;
  /** What the value must be. */
  readonly rule: string;
  /** The nearest known key or value. */
  readonly hint?: string | undefined;
}

/** The configuration cannot be used. Holds every mistake of every source, and the warnings beside them. */
export class ConfigError extends WakefulError {
  override readonly name: string = "ConfigError";
  readonly mistakes: readonly ConfigMistake[];
  readonly warnings: readonly ConfigMistake[];

  constructor(mistakes: readonly ConfigMistake[], warnings: readonly ConfigMistake[] = [], options: ErrorOptions = {}) {
    const count = mistakes.length === 1 ? "1 mistake" : `${mistakes.length} mistakes`;
    super("config_invalid", `The configuration has ${count}:\n${mistakes.map(describeMistake).join("\n")}`, {
      ...options,
      details: { mistakes, warnings },
    });
    this.mistakes = mistakes;
    this.warnings = warnings;
  }
}

/** One line for people: `wakeful.yaml:12:15 pipelines.comics.stages.prep.next: "ocrr" names no stage of this pipeline; did you mean "ocr"?` */
export function describeMistake(mistake: ConfigMistake): string {
  const where = mistake.line === undefined ? mistake.source : `${mistake.source}:${mistake.line}:${mistake.column ?? 1}`;
  const hint = mistake.hint === undefined ? "" : `; did you mean "${mistake.hint}"?`;
  return [
    where,
    mistake.path === "" ? "" : ` ${mistake.path}:`,
    mistake.value === "" ? "" : ` ${mistake.value}`,
    ` ${mistake.rule}`,
    hint,
  ].join("");
}

/** `["a", "b", 0]` as `a.b[0]`. */
export function dottedPath(path: KeyPath): string {
  return path.reduce<string>((text, step) => (typeof step === "number" ? `${text}[${step}]` : text === "" ? step : `${text}.${step}`), "");
}

const shownLength = 80;

/** A finding without a line; located mistakes start from it. */
export function mistakeOf(finding: Finding, source: string): ConfigMistake {
  return {
    source,
    path: dottedPath(finding.path),
    value: shownValue(finding.value, finding.path),
    rule: finding.rule,
    hint: finding.hint,
  };
}

/** The value as JSON on one line, at most 80 characters. Environment values and passwords inside URLs are masked. */
export function shownValue(value: unknown, path: KeyPath): string {
  if (value === undefined) return "";
  if (path[0] === "pipelines" && path[4] === "env") return '"***"';
  let text: string;
  try {
    text =
      JSON.stringify(value, (_, member: unknown) =>
        typeof member === "function" ? "[function]" : typeof member === "bigint" ? `${member}n` : member,
      ) ?? typeof value;
  } catch (error) {
    // A TypeError is taken for a cycle; any other error comes from the value itself.
    text = error instanceof TypeError ? "[circular]" : String(error);
  }
  const masked = withoutPassword(text).replaceAll(/(:\/\/[^:@/\s"]*):[^@/\s"]*@/g, "$1:***@");
  return masked.length > shownLength ? `${masked.slice(0, shownLength - 1)}…` : masked;
}

/** Mistakes of a file in its order, then those of sources without lines. */
export function inFileOrder(mistakes: readonly ConfigMistake[]): readonly ConfigMistake[] {
  return mistakes.toSorted(
    (a, b) => (a.line ?? Number.MAX_SAFE_INTEGER) - (b.line ?? Number.MAX_SAFE_INTEGER) || (a.column ?? 0) - (b.column ?? 0),
  );
}
