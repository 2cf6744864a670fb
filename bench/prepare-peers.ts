import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { repository } from "./cell.ts";

export const peerNames = ["graphile-worker", "pg-boss", "bullmq", "plainjob"] as const;
export type PeerName = (typeof peerNames)[number];

const folder = join(repository, "bench/peers");
const installed = join(folder, "node_modules/.package-lock.json");

/** Why each peer cannot run; undefined when it can. */
export type PeersMissing = Readonly<Record<PeerName, string | undefined>>;

/**
 * Installs the peers when the lock file asks for others than are installed. better-sqlite3, which plainjob needs, is compiled on Node 20,
 * which takes about a minute; without a compiler the others are installed all the same.
 */
export function preparePeers(say: (line: string) => void): PeersMissing {
  const failed = isCurrent() ? undefined : install(say);
  const whyOf = (name: PeerName): string | undefined =>
    existsSync(join(folder, "node_modules", name, "package.json"))
      ? undefined
      : `not installed${failed === undefined ? "" : `: ${failed}`}`;
  const addon = join(folder, "node_modules/better-sqlite3/build/Release/better_sqlite3.node");
  return {
    "graphile-worker": whyOf("graphile-worker"),
    "pg-boss": whyOf("pg-boss"),
    bullmq: whyOf("bullmq"),
    plainjob: whyOf("plainjob") ?? (existsSync(addon) ? undefined : "better-sqlite3 was not compiled: it takes a C++ compiler and Python"),
  };
}

/** `name version` of each peer that is installed. */
export function peerVersions(): readonly string[] {
  return peerNames.flatMap((name) => {
    const path = join(folder, "node_modules", name, "package.json");
    return existsSync(path) ? [`${name} ${(JSON.parse(readFileSync(path, "utf8")) as { version: string }).version}`] : [];
  });
}

function install(say: (line: string) => void): string | undefined {
  say("installing the peers (better-sqlite3 is compiled: about a minute)");
  const npm = spawnSync("npm", ["ci", "--no-audit", "--no-fund"], { cwd: folder, encoding: "utf8", timeout: 600_000 });
  return npm.status === 0 ? undefined : (npm.stderr || npm.error?.message || "npm ci failed").trim().split("\n").slice(-3).join(" ");
}

function isCurrent(): boolean {
  if (!existsSync(installed)) return false;
  const versions = (path: string): string => {
    const { packages } = JSON.parse(readFileSync(path, "utf8")) as { packages: Readonly<Record<string, { version?: string }>> };
    return JSON.stringify(peerNames.map((name) => packages[`node_modules/${name}`]?.version));
  };
  return versions(installed) === versions(join(folder, "package-lock.json"));
}
