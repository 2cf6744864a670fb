import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { repository } from "./cell.ts";

const folder = join(repository, "bench/peers");

/** Installs the peers when they are absent; better-sqlite3 is compiled, which takes about a minute. Answers why they cannot be had. */
export function preparePeers(say: (line: string) => void): string | undefined {
  if (existsSync(join(folder, "node_modules/better-sqlite3/build/Release/better_sqlite3.node"))) return undefined;
  say("installing the peers (better-sqlite3 is compiled: about a minute)");
  const npm = spawnSync("npm", ["ci", "--no-audit", "--no-fund"], { cwd: folder, encoding: "utf8", timeout: 600_000 });
  if (npm.status === 0) return undefined;
  return `the peers cannot be installed: ${(npm.stderr || npm.error?.message || "npm ci failed").trim().split("\n").slice(-3).join(" ")}`;
}
