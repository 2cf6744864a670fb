import type { BuildOptions } from "esbuild";
import { repositoryRoot } from "./source-tree.ts";

/** The programs of a release. */
export const executables: readonly string[] = ["src/bin/wakeful.ts", "src/bin/handler-host.ts", "src/bin/path-helper.ts"];

/**
 * How the programs are bundled, for the release and for the tests that run them: chunk borders, and what `import()` of a CommonJS package
 * answers, differ between bundles.
 */
export const executableBuild: BuildOptions = {
  absWorkingDir: repositoryRoot,
  entryPoints: [...executables],
  outbase: "src/bin",
  chunkNames: "chunks/[name]-[hash]",
  bundle: true,
  // The start path stays small: what a command loads with import() becomes a file of its own, shared by all executables.
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20.19",
  /**
   * Left out of the bundles: the SQLite driver loads its binary from beside its files, pino starts threads from its files, pg loads
   * optional parts by name, and an application registers its SDK with this copy of the OpenTelemetry API.
   */
  external: ["@photostructure/sqlite", "pg", "pg-native", "pino", "@opentelemetry/api"],
  // Bundled CommonJS packages call `require` for built-in modules; an ES module has none of its own.
  banner: {
    js: 'import { createRequire as wakefulCreateRequire } from "node:module"; const require = wakefulCreateRequire(import.meta.url);',
  },
  legalComments: "none",
};
