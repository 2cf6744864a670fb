import { findLargeBags } from "./option-bags.ts";
import { reportFindings } from "./report-findings.ts";
import { readSources, repositoryRoot } from "./source-tree.ts";
import { findUntidiness } from "./tidy.ts";

const files = readSources({
  folders: [
    "src",
    "test",
    "bench",
    "scripts",
    "examples",
    "docs",
    "deploy",
    ".ci",
    "README.md",
    "CHANGELOG.md",
    "vitest.config.ts",
    "vitest.mutants.config.ts",
    "stryker.config.mjs",
    "package.json",
  ],
  endings: [
    ".ts",
    ".tsx",
    ".mts",
    ".js",
    ".mjs",
    ".sh",
    ".md",
    ".yaml",
    ".yml",
    ".sql",
    ".css",
    ".html",
    ".service",
    "Dockerfile",
    "/run",
    "package.json",
  ],
});
reportFindings("tidy", files.length, [...findUntidiness(files, { machinePaths: [repositoryRoot] }), ...findLargeBags(files)]);
