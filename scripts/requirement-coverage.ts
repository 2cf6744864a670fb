import type { TestCall } from "./parsed-module.ts";

/** The content of `test/requirements.json`. */
export interface RequirementList {
  /** Every family of ids and its last number: `{ "A-": 27, "F-8.": 15 }` means and F-8.1 to F-8.15. */
  readonly known: Readonly<Record<string, number>>;
  /** The ids for which a test must exist. */
  readonly claimed: readonly string[];
}

export interface TestTitle {
  readonly path: string;
  readonly line: number;
  readonly title: string;
}

export interface RequirementCoverage {
  /** Claimed ids with the tests that name them. */
  readonly proved: Readonly<Record<string, readonly string[]>>;
  /** Claimed ids that no test names. */
  readonly missing: readonly string[];
  /** Ids in titles that do not exist: otherwise nobody would see a misspelt id. */
  readonly unknown: readonly { readonly id: string; readonly at: string }[];
  /** Ids that a test names although nobody claims them yet. */
  readonly unclaimed: readonly string[];
}

const id = String.raw`[A-Z]-G?\d+(?:\.\d+)?`;
const bracket = new RegExp(String.raw`\[(${id}(?:,\s*${id})*)\]`, "g");

/** The ids that a title names in brackets: `[A-14]`, `[A-14, A-15]` or, of a section, `[F-8.1]`. */
export function idsIn(title: string): string[] {
  return [...title.matchAll(bracket)].flatMap((match) => (match[1] ?? "").split(",").map((id) => id.trim()));
}

/** Compares the titles of all tests with the claimed requirements. A skipped test proves nothing. */
export function coverageOf(list: RequirementList, titles: readonly TestTitle[]): RequirementCoverage {
  const proved = new Map<string, string[]>(list.claimed.map((id) => [id, []]));
  const unknown: { id: string; at: string }[] = [];
  const unclaimed = new Set<string>();
  for (const { path, line, title } of titles) {
    for (const id of idsIn(title)) {
      if (!exists(list, id)) unknown.push({ id, at: `${path}:${line}` });
      else if (proved.has(id)) proved.get(id)?.push(`${path}: ${title}`);
      else unclaimed.add(id);
    }
  }
  return {
    proved: Object.fromEntries([...proved].filter(([, tests]) => tests.length > 0)),
    missing: [...proved].filter(([, tests]) => tests.length === 0).map(([id]) => id),
    unknown,
    unclaimed: [...unclaimed],
  };
}

/** Whether a call counts as a test that runs. */
export const isRunningTest = ({ modifiers }: TestCall): boolean => !modifiers.includes("skip") && !modifiers.includes("todo");

function exists(list: RequirementList, id: string): boolean {
  const [, family = "", number = ""] = /^(.*\D)(\d+)$/.exec(id) ?? [];
  return Number(number) >= 1 && Number(number) <= (list.known[family] ?? 0);
}
