/**
 * `npm run requirements [-- --json]`: says which claimed requirements (test/requirements.json) no test names in its title,
 * and fails if there is one. The ids are those of the requirement list that the tests quote in brackets.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseModule } from "./parsed-module.ts";
import { coverageOf, isRunningTest, type RequirementList } from "./requirement-coverage.ts";
import { readSources, repositoryRoot } from "./source-tree.ts";

const list = JSON.parse(readFileSync(join(repositoryRoot, "test/requirements.json"), "utf8")) as RequirementList;
// Not only *.test.ts: a suite that runs against every store is a function in a file of its own.
const titles = readSources({ folders: ["src", "test", "examples", "scripts"], endings: [".ts"] })
  .filter(({ path, text }) => path.startsWith("test/") || text.includes("vitest"))
  .flatMap(({ path, text }) =>
    parseModule(path, text)
      .testCalls.filter(isRunningTest)
      .map(({ title, line }) => ({ path, line, title })),
  );
const coverage = coverageOf(list, titles);

if (process.argv.includes("--json")) {
  console.log(JSON.stringify(coverage, null, 2));
} else {
  for (const { id, at } of coverage.unknown) console.error(`${at}: ${id} is no requirement`);
  if (coverage.missing.length > 0) console.error(`no test names: ${coverage.missing.join(", ")}`);
  if (coverage.unclaimed.length > 0) console.log(`named by a test but not claimed: ${coverage.unclaimed.join(", ")}`);
  console.log(`requirements: ${Object.keys(coverage.proved).length} of ${list.claimed.length} claimed are named by a test`);
}
if (coverage.missing.length > 0 || coverage.unknown.length > 0) process.exitCode = 1;
