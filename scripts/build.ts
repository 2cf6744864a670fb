/**
 * `npm run build`: a clean `dist/` with the library (compiled file by file, with types) and the executables (bundled, so that
 * `wakeful --help` reads a handful of files instead of a thousand).
 */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { repositoryRoot } from "./source-tree.ts";

const inRepository = (path: string): string => join(repositoryRoot, path);

/** Public doors of the package; tsconfig.build.json names the same files. */
const libraryEntries = ["src/index.ts", "src/testing.ts"];
const executables = ["src/bin/wakeful.ts", "src/bin/daemon.ts", "src/bin/handler-host.ts"];

/**
 * Left out of the bundles: the SQLite driver finds its native binary beside its own files, pino starts threads from its own files,
 * pg loads its optional parts by name, and the OpenTelemetry API must be the very copy that an application registers its SDK with.
 */
const external = ["@photostructure/sqlite", "pg", "pg-native", "pino", "@opentelemetry/api"];

/** Bundled CommonJS packages call `require` for built-in modules; an ES module has none of its own. */
const requireBanner =
  'import { createRequire as wakefulCreateRequire } from "node:module"; const require = wakefulCreateRequire(import.meta.url);';

rmSync(inRepository("dist"), { recursive: true, force: true });

if (libraryEntries.every((entry) => existsSync(inRepository(entry)))) {
  const tsc = spawnSync(inRepository("node_modules/.bin/tsc"), ["-p", "tsconfig.build.json"], { cwd: repositoryRoot, stdio: "inherit" });
  if (tsc.status !== 0) process.exit(tsc.status ?? 1);
} else {
  console.log(`library: nothing to compile, ${libraryEntries.filter((entry) => !existsSync(inRepository(entry))).join(" and ")} absent`);
}

const present = executables.filter((entry) => existsSync(inRepository(entry)));
if (present.length > 0) {
  await build({
    absWorkingDir: repositoryRoot,
    entryPoints: present,
    outdir: "dist/bin",
    outbase: "src/bin",
    chunkNames: "chunks/[name]-[hash]",
    bundle: true,
    // The start path stays small: what a command loads with import() becomes a file of its own, shared by all executables.
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node20.19",
    external,
    banner: { js: requireBanner },
    legalComments: "none",
    logLevel: "warning",
  });
  for (const entry of present) chmodSync(inRepository(entry.replace(/^src/, "dist").replace(/\.ts$/, ".js")), 0o755);
}
console.log(
  `executables: ${present.length === 0 ? "none yet" : present.map((entry) => entry.slice("src/bin/".length, -".ts".length)).join(", ")}`,
);
