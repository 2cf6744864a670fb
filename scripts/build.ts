/**
 * `npm run build`: a clean `dist/` with the library (compiled file by file, with types) and the executables (bundled, so that
 * `wakeful --help` reads a handful of files instead of a thousand).
 */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { executableBuild, executables } from "./executables.ts";
import { repositoryRoot } from "./source-tree.ts";

const inRepository = (path: string): string => join(repositoryRoot, path);

/** Public doors of the package; tsconfig.build.json names the same files. */
const libraryEntries = ["src/index.ts", "src/testing.ts"];

rmSync(inRepository("dist"), { recursive: true, force: true });

if (libraryEntries.every((entry) => existsSync(inRepository(entry)))) {
  const tsc = spawnSync(inRepository("node_modules/.bin/tsc"), ["-p", "tsconfig.build.json"], { cwd: repositoryRoot, stdio: "inherit" });
  if (tsc.status !== 0) process.exit(tsc.status ?? 1);
} else {
  console.log(`library: nothing to compile, ${libraryEntries.filter((entry) => !existsSync(inRepository(entry))).join(" and ")} absent`);
}

await build({ ...executableBuild, outdir: "dist/bin", logLevel: "warning" });
for (const entry of executables) chmodSync(inRepository(entry.replace(/^src/, "dist").replace(/\.ts$/, ".js")), 0o755);
console.log(`executables: ${executables.map((entry) => entry.slice("src/bin/".length, -".ts".length)).join(", ")}`);
