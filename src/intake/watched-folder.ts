import { lstat, readdir } from "node:fs/promises";
import { hasCode } from "../domain/errors.ts";
import type { DurationMs, Instant } from "../domain/time.ts";
import { labelOf } from "../files/file-name.ts";
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
  #memory = new Map<string, Memory>();
  #unfinished = new Set<string>();
  #turn = 0;

  constructor(options: { readonly dir: string; readonly match: readonly string[]; readonly minStableMs: DurationMs }) {
    this.dir = options.dir;
    this.#minStableMs = options.minStableMs;
    this.#globs = options.match.map((text) => {
      const parsed = parseGlob(text);
      if (!parsed.ok) throw new TypeError(`the glob ${JSON.stringify(text)} ${parsed.rule}`);
      return parsed.glob;
    });
  }

  async scan(now: Instant): Promise<FolderScan> {
    const names = await this.#names();
    const matching: { readonly name: Buffer; readonly label: string }[] = [];
    const unfinished = new Set<string>();
    for (const name of names) {
      const label = labelOf(name);
      if (unfinishedEnding.test(label)) {
        if (unfinished.size >= examinedMax) continue;
        const found = await this.#examine(name);
        if (found?.isFile() === true) unfinished.add(identityOf(found));
      } else if (this.#globs.some((glob) => glob.matches(label))) matching.push({ name, label });
    }
    const scan = await this.#judge(this.#inTurn(matching), now);
    const present = new Set(matching.map(({ name }) => keyOf(name)));
    for (const key of this.#memory.keys()) if (!present.has(key)) this.#memory.delete(key);
    this.#unfinished = unfinished;
    return scan;
  }

  async #judge(candidates: readonly { readonly name: Buffer; readonly label: string }[], now: Instant): Promise<FolderScan> {
    const ready: (FoundFile & { readonly mtimeNs: bigint })[] = [];
    const odd: { label: string; why: string }[] = [];
    const waits: DurationMs[] = [];
    for (const { name, label } of candidates) {
      const found = await this.#examine(name);
      if (found === undefined) continue;
      const key = keyOf(name);
      const before = this.#memory.get(key);
      const identity = identityOf(found);
      const fingerprint = `${identity}:${found.size}:${found.mtimeNs}`;
      const same = before?.fingerprint === fingerprint;
      const since = same ? before.since : now;
      if (!found.isFile()) {
        if (before?.oddTold !== true) odd.push({ label, why: kindOf(found) });
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

  async #names(): Promise<readonly Buffer[]> {
    try {
      return await readdir(this.dir, { encoding: "buffer" });
    } catch (thrown) {
      if (!hasCode(thrown, "ENOENT")) throw thrown;
      // Created for the programs that drop files there; it may have been removed meanwhile.
      await makeSharedDirectory(this.dir);
      return [];
    }
  }

  async #examine(name: Buffer): Promise<Examined | undefined> {
    try {
      return await lstat(this.#pathOf(name), { bigint: true });
    } catch (thrown) {
      if (hasCode(thrown, "ENOENT")) return undefined;
      throw thrown;
    }
  }

  #pathOf(name: Buffer): Buffer {
    return Buffer.concat([Buffer.from(`${this.dir}/`), name]);
  }
}

type Examined = Awaited<ReturnType<typeof lstatBigInt>>;
const lstatBigInt = async (path: Buffer) => await lstat(path, { bigint: true });

const keyOf = (name: Buffer): string => name.toString("latin1");
const identityOf = (found: Examined): string => `${found.dev}:${found.ino}`;

function kindOf(found: Examined): string {
  if (found.isSymbolicLink()) return "it is a link; only regular files are taken";
  if (found.isDirectory()) return "it is a folder; only regular files are taken";
  if (found.isFIFO()) return "it is a FIFO; only regular files are taken";
  return "it is no regular file";
}
