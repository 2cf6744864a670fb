/** `npm run docs` writes every document that is made from tables; with `--check` it only says which ones are not what the code says. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { hasCode } from "../src/domain/errors.ts";
import { generatedDocuments } from "./documents.ts";
import { repositoryRoot } from "./source-tree.ts";

const checkOnly = process.argv.includes("--check");
let different = 0;
for (const { path, make } of generatedDocuments) {
  const file = join(repositoryRoot, path);
  const text = await make();
  if (present(file) === text) continue;
  different++;
  if (checkOnly) {
    console.error(`${path}:1: is not what the code says: run \`npm run docs\``);
    continue;
  }
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  console.log(`${path} written`);
}
if (checkOnly && different > 0) process.exitCode = 1;
console.log(`docs: ${generatedDocuments.length} made from tables, ${different} ${checkOnly ? "out of date" : "changed"}`);

function present(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (thrown) {
    if (hasCode(thrown, "ENOENT")) return undefined;
    throw thrown;
  }
}
