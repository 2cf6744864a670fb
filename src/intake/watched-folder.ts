import type { BigIntStats } from "node:fs";
import { lstat, readdir } from "node:fs/promises";
import { hasCode } from "../domain/errors.ts";
import type { DurationMs, Instant } from "../domain/time.ts";
import { labelOf } from "../files/file-name.ts";
import type { PathAccess, PathOperation } from "../files/foreign/path-operation.ts";
import { makeSharedDirectory } from "../files/make-directory.ts";
import { type Glob, parseGlob } from "../pipelines/glob.ts";

/** A file in a watched folder. Its name may be any bytes, so paths are bytes; only the label is for people and for matching. */
export interface FoundFile {
  readonly path: Buffer;
  readonly label: string;
  readonly sizeBytes: number;
  /** Device, inode, size and time of change. Another value means another file, or one that is still being written. */
  readonly fingerprint: string;
}

export interface FolderScan {
  /** Files that no longer grow, oldest first. */
  readonly ready: readonly FoundFile[];
  /** Names that match a glob and are no regular file; each is listed once. */
  readonly odd: readonly { readonly label: string; readonly why: string }[];
  /** Files seen that are not ready. */
  readonly growing: number;
  /** When the first of them may be ready. */
  readonly nextReadyInMs: DurationMs | undefined;
}

interface Memory {
  readonly fingerprint: string;
  readonly since: Instant;
  readonly oddTold: boolean;
}

/** Most files examined in one look; a larger folder is examined in turns. */
const examinedMax = 2000;
/** The ending that producers give a file while they write it. */
const unfinishedEnding = /\.part$/i;

/**
 * One watched folder: its files, and since when each has not changed. A file is ready after `minStableMs` without change, or at once when
 * it loses the ending `.part`. A new process starts these waits again.
 */
export class WatchedFolder {
  readonly dir: string;
  readonly #globs: readonly Glob[];
  readonly #minStableMs: DurationMs;
  readonly #access: PathAccess;
  #memory = new Map<string, Memory>();
  #unfinished = new Set<string>();
  #turn = 0;

  constructor(options: {
    readonly dir: string;
    readonly match: readonly string[];
    readonly minStableMs: DurationMs;
    readonly access: PathAccess;
  }) {
    this.dir = options.dir;
    this.#access = options.access;
    this.#minStableMs = options.minStableMs;
    this.#globs = options.match.map((text) => {
      const parsed = parseGlob(text);
      if (!parsed.ok) throw new TypeError(`the glob ${JSON.stringify(text)} ${parsed.rule}`);
      return parsed.glob;
    });
  }

  async scan(now: Instant): Promise<FolderScan> {
    const names = await this.#access.do(listFolder, this.dir, { paths: [this.dir] });
    const matching: { readonly name: Buffer; readonly label: string }[] = [];
    const unfinishedNames: Buffer[] = [];
    for (const name of names) {
      const label = labelOf(name);
      if (unfinishedEnding.test(label)) {
        if (unfinishedNames.length < examinedMax) unfinishedNames.push(name);
      } else if (this.#globs.some((glob) => glob.matches(label))) matching.push({ name, label });
    }
    const unfinished = (await this.#examine(unfinishedNames)).filter((found) => found?.kind === "file");
    const scan = await this.#judge(this.#inTurn(matching), now);
    const present = new Set(matching.map(({ name }) => keyOf(name)));
    for (const key of this.#memory.keys()) if (!present.has(key)) this.#memory.delete(key);
    this.#unfinished = new Set(unfinished.flatMap((found) => (found === undefined ? [] : [identityOf(found)])));
    return scan;
  }

  async #judge(candidates: readonly { readonly name: Buffer; readonly label: string }[], now: Instant): Promise<FolderScan> {
    const ready: (FoundFile & { readonly mtimeNs: bigint })[] = [];
    const odd: { label: string; why: string }[] = [];
    const waits: DurationMs[] = [];
    const examined = await this.#examine(candidates.map(({ name }) => name));
    for (const [at, { name, label }] of candidates.entries()) {
      const found = examined[at];
      if (found === undefined) continue;
      const key = keyOf(name);
      const before = this.#memory.get(key);
      const identity = identityOf(found);
      const fingerprint = `${identity}:${found.size}:${found.mtimeNs}`;
      const same = before?.fingerprint === fingerprint;
      const since = same ? before.since : now;
      if (found.kind !== "file") {
        if (before?.oddTold !== true) odd.push({ label, why: oddKinds[found.kind] });
        this.#memory.set(key, { fingerprint, since, oddTold: true });
        continue;
      }
      this.#memory.set(key, { fingerprint, since, oddTold: false });
      const waitMs = since + this.#minStableMs - now;
      if (waitMs <= 0 || this.#unfinished.has(identity)) {
        ready.push({ path: this.#pathOf(name), label, sizeBytes: Number(found.size), fingerprint, mtimeNs: found.mtimeNs });
      } else waits.push(waitMs);
    }
    ready.sort((a, b) => (a.mtimeNs < b.mtimeNs ? -1 : a.mtimeNs > b.mtimeNs ? 1 : 0));
    return { ready, odd, growing: waits.length, nextReadyInMs: waits.length === 0 ? undefined : Math.min(...waits) };
  }

  #inTurn<T>(members: readonly T[]): readonly T[] {
    if (members.length <= examinedMax) return members;
    const start = this.#turn % members.length;
    this.#turn = start + examinedMax;
    return [...members.slice(start), ...members.slice(0, start)].slice(0, examinedMax);
  }

  async #examine(names: readonly Buffer[]): Promise<readonly (Examined | undefined)[]> {
    if (names.length === 0) return [];
    const paths = names.map((name) => this.#pathOf(name));
    return await this.#access.do(examineFiles, paths, { paths: [this.dir] });
  }

  #pathOf(name: Buffer): Buffer {
    return Buffer.concat([Buffer.from(`${this.dir}/`), name]);
  }
}

/** What is seen of a file without following a link. */
interface Examined {
  readonly kind: "file" | "link" | "folder" | "fifo" | "other";
  readonly dev: bigint;
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
}

const oddKinds: Readonly<Record<Exclude<Examined["kind"], "file">, string>> = {
  link: "it is a link; only regular files are taken",
  folder: "it is a folder; only regular files are taken",
  fifo: "it is a FIFO; only regular files are taken",
  other: "it is no regular file",
};

const keyOf = (name: Buffer): string => name.toString("latin1");
const identityOf = (found: Examined): string => `${found.dev}:${found.ino}`;

/** The names in a folder. One that is missing is made, for the programs that drop files there. */
export const listFolder: PathOperation<string, readonly Buffer[]> = {
  name: "list-folder",
  run: async (dir) => {
    try {
      return await readdir(dir, { encoding: "buffer" });
    } catch (thrown) {
      if (!hasCode(thrown, "ENOENT")) throw thrown;
      await makeSharedDirectory(dir);
      return [];
    }
  },
};

/** What each path is; undefined where nothing is. */
export const examineFiles: PathOperation<readonly Buffer[], readonly (Examined | undefined)[]> = {
  name: "examine-files",
  run: async (paths, alive) => {
    const all: (Examined | undefined)[] = [];
    for (const path of paths) {
      all.push(await examined(path));
      alive();
    }
    return all;
  },
};

async function examined(path: Buffer): Promise<Examined | undefined> {
  try {
    const found = await lstat(path, { bigint: true });
    const { dev, ino, size, mtimeNs } = found;
    return { kind: kindOf(found), dev, ino, size, mtimeNs };
  } catch (thrown) {
    if (hasCode(thrown, "ENOENT")) return undefined;
    throw thrown;
  }
}

function kindOf(found: BigIntStats): Examined["kind"] {
  if (found.isFile()) return "file";
  if (found.isSymbolicLink()) return "link";
  if (found.isDirectory()) return "folder";
  return found.isFIFO() ? "fifo" : "other";
}
