import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { commonOptions } from "../src/cli/commands-doc.ts";
import { valueAt } from "../src/config/zod-findings.ts";
import { wakefulJsonSchema } from "../src/pipelines/reading/json-schema.ts";
import { errorEvents } from "../src/telemetry/events-doc.ts";
import { readSources, repositoryRoot } from "./source-tree.ts";

// Pages written by hand: what they must not leave out is taken from the code.

const read = (path: string): string => readFileSync(join(repositoryRoot, path), "utf8");

/** Every text literal that a member called `name` may hold, in the order of the source. */
function literalsOf(source: string, name: "kind" | "reason"): readonly string[] {
  const types = [...source.matchAll(new RegExp(`readonly ${name}:((?:\\s*\\|?\\s*"[a-z0-9_]+")+)`, "g"))].map((found) => found[1] ?? "");
  return [...new Set(types.flatMap((type) => [...type.matchAll(/"([a-z0-9_]+)"/g)].map((found) => found[1] ?? "")))];
}

test.each(["kind", "reason"] as const)("docs/verdicts.md names every %s of the judges [C-106]", (name) => {
  const page = read("docs/verdicts.md");
  const literals = ["run", "worker", "lease", "adoption"].flatMap((noun) =>
    literalsOf(read(noun === "run" ? "src/liveness/verdict.ts" : `src/liveness/${noun}-policy.ts`), name),
  );
  expect(literals.length).toBeGreaterThan(name === "kind" ? 12 : 25);
  const inWords: Readonly<Record<string, string>> = { keep: "kept", alert: "alert", free: "freed", stop_then_free: "stopped, then freed" };
  expect(literals.filter((literal) => !page.includes(inWords[literal] ?? `\`${literal}\``))).toEqual([]);
});

test("docs/pipelines.md describes every key of stages, gates and intakes", () => {
  const page = read("docs/pipelines.md");
  const pipeline = ["properties", "pipelines", "additionalProperties", "properties"];
  const schema = wakefulJsonSchema();
  const keysAt = (path: readonly string[]): readonly string[] => Object.keys(valueAt(schema, [...pipeline, ...path, "properties"]) ?? {});
  const stage = keysAt(["stages", "additionalProperties"]);
  const gate = keysAt(["stages", "additionalProperties", "properties", "gate"]);
  const intake = keysAt(["intake"]);
  expect([stage.length, gate.length, intake.length].every((count) => count > 8)).toBe(true);
  expect([...stage, ...intake].filter((key) => !page.includes(`| \`${key}\` |`))).toEqual([]);
  // A gate that is refused as "not available yet" is not described as present.
  const available = gate.filter((key) => key !== "handler" && key !== "http");
  expect(available.filter((key) => !new RegExp(`\`(gate\\.)?${key}\\b`).test(page))).toEqual([]);
});

test("docs/operating.md says what to do for every event that asks for a person", () => {
  const page = read("docs/operating.md");
  expect(errorEvents.filter((event) => !page.includes(`| \`${event}\` |`))).toEqual([]);
});

test("docs/cli.md names the options that every command takes, and no others", () => {
  const program = read("src/cli/program.ts");
  const common = program.slice(program.indexOf("function withCommonOptions"));
  const flags = [...common.slice(0, common.indexOf("\n}")).matchAll(/\.option\("([^"]+)"/g)].map((found) => found[1]);
  expect(commonOptions.map((option) => option.flags)).toEqual(flags);
});

test("docs/architecture.md names every folder of the code", () => {
  const page = read("docs/architecture.md");
  const folders = readdirSync(join(repositoryRoot, "src"), { withFileTypes: true }).filter((entry) => entry.isDirectory());
  expect(folders.filter(({ name }) => !page.includes(`\`${name}/\``))).toEqual([]);
});

test("docs/architecture.md counts the files of each addition, and each of them exists", () => {
  const page = read("docs/architecture.md");
  const section = page.slice(page.indexOf("\n## Adding something"), page.indexOf("\n## The store"));
  const rows = [...section.matchAll(/^\| (an? [^|]+) \| (\d+) \| (.+) \|$/gm)].map(([, what = "", count, where = ""]) => ({
    what,
    count: Number(count),
    paths: [...where.matchAll(/`([^`]+\.ts)`/g)].map((found) => found[1] ?? ""),
  }));
  expect(rows.map(({ what }) => what)).toEqual(expect.arrayContaining(["a loop", "an event", "a gate kind", "a column"]));
  const files = readSources({ folders: ["src"], endings: [".ts"] }).map(({ path }) => path.slice("src/".length));
  // A name in angle brackets stands for any name: at least one such file must exist.
  const exists = (path: string): boolean => {
    const parts = path.split(/<[a-z]+>/).map((part) => part.replaceAll(/[.\\]/g, "\\$&"));
    return files.some((file) => new RegExp(`^${parts.join("[a-z0-9-]+")}$`).test(file));
  };
  for (const { what, count, paths } of rows) {
    expect(paths, what).toHaveLength(count);
    expect(
      paths.filter((path) => !exists(path)),
      what,
    ).toEqual([]);
  }
});

test("docs/architecture.md names the reader of each table's rows", () => {
  const page = read("docs/architecture.md");
  const listed = page.slice(page.indexOf("- **Readers of rows**"), page.indexOf("- An event that is an error"));
  const reader = /\bfunction (\w+)Row\(\s*row: (?:RowOf<"\w+">|\w+Columns)/g;
  const readers = readSources({ folders: ["src/store"], endings: [".ts"] }).flatMap(({ path, text }) =>
    [...text.matchAll(reader)].map(([, noun = ""]) => ({ noun, path: path.slice("src/".length) })),
  );
  expect([...new Set(readers.map(({ noun }) => noun))].toSorted()).toEqual([
    "action",
    "duplicate",
    "item",
    "job",
    "lease",
    "outbox",
    "run",
    "supervisor",
    "visit",
    "worker",
  ]);
  expect(readers.filter(({ path }) => !listed.includes(`\`${path}\``))).toEqual([]);
  expect(
    [...listed.matchAll(/`([^`]+\.ts)`/g)].map(([, path]) => path).filter((path) => readers.every((each) => each.path !== path)),
  ).toEqual([]);
});

test("the job-reaper and the lease reclaim have their records, their page, their settings and their line in the changelog [B-72]", () => {
  expect(read("docs/decisions/0007-job-reaper.md")).toMatch(/[Cc]laim before act/);
  expect(read("docs/decisions/0008-lease-reclaim.md")).toContain("leases.reclaimEnabled");
  expect(read("docs/architecture.md")).toContain("| job-reaper |");
  for (const variable of ["REAPER_ENABLED", "REAPER_INTERVAL_S", "REAPER_DEAD_TICKS", "REAPER_FINALIZE_GRACE_S", "REAPER_MAX_RUNNING_S"]) {
    expect(read("docs/configuration.md")).toContain(`\`${variable}\``);
  }
  expect(read("CHANGELOG.md")).toContain("job-reaper");
});

test("every decision has its number, its four parts, and the next number", () => {
  const files = readdirSync(join(repositoryRoot, "docs/decisions")).sort();
  for (const [index, file] of files.entries()) {
    const text = read(`docs/decisions/${file}`);
    const number = String(index + 1).padStart(4, "0");
    expect(file.startsWith(`${number}-`), file).toBe(true);
    expect(text.startsWith(`# ${number}: `), file).toBe(true);
    expect(
      [...text.matchAll(/^## (.*)$/gm)].map((found) => found[1]),
      file,
    ).toEqual(["Context", "Options", "Decision", "Consequences"]);
  }
});
