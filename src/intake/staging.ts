import type { PathLike } from "node:fs";
import { lstat, mkdir, readdir, rename, rm, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { hasCode, isWakefulError } from "../domain/errors.ts";
import type { HostId } from "../domain/ids.ts";
import type { DataPaths } from "../files/data-paths.ts";
import { safeFileName } from "../files/file-name.ts";
import type { PathAccess, PathOperation } from "../files/foreign/path-operation.ts";
import { lstatOrUndefined, moveFile, sha256Of } from "../files/move-file.ts";
import { replaceFile } from "../files/regular-file.ts";
import { readSmallFile, syncToDisk } from "../files/small-file.ts";
import { inputFolder } from "../item-files/kept-source.ts";
import type { TakenFileInput } from "../item-files/state-projection.ts";
import { intakeKey } from "../pipelines/intake-key.ts";
import { itemDirectories } from "../pipelines/item-key.ts";
import type { PipelineRegistry } from "../pipelines/registry.ts";
import type { ItemRow } from "../store/port/items.ts";
import type { DuplicateRow } from "../store/port/records.ts";
import type { Store } from "../store/port/store.ts";

export interface StagingOptions {
  readonly store: Pick<Store, "items" | "duplicates">;
  readonly registry: PipelineRegistry;
  readonly paths: DataPaths;
  /** How watched folders are reached. */
  readonly access: PathAccess;
  /** Owner of these entries: a daemon continues only those of its own host. Safe as part of a file name. */
  readonly owner: string;
  /** Whose disk the work directories are on. */
  readonly hostId: HostId;
  /** A new id that was never given before. */
  readonly newId: () => string;
}

/** Where a staged file came from, written before it is moved. */
interface Origin {
  readonly pipeline: string;
  readonly label: string;
  /** Path in the watched folder, as base64 of its bytes. */
  readonly path: string;
  /** Recognises the original when a move to another disk was cut short before removing it. */
  readonly fingerprint: string;
}

/** What the file will become, written before it takes effect, so that a crash never makes a file a duplicate of itself. */
type Plan =
  | {
      readonly kind: "item";
      readonly key: string;
      readonly dir: string;
      readonly name: string;
      readonly sha256: string;
      readonly sizeBytes: number;
    }
  | {
      readonly kind: "duplicate";
      readonly key: string;
      readonly existingItemId: ItemRow["id"];
      readonly path: string;
      readonly sizeBytes: number;
    };

/** What became of a staged file. */
export type Staged =
  | { readonly kind: "added"; readonly item: ItemRow; readonly created: boolean }
  | {
      readonly kind: "duplicate";
      readonly duplicate: Pick<DuplicateRow, "id" | "pipeline" | "key" | "fileName" | "path" | "sizeBytes" | "existingItemId">;
    }
  /** A crash came before anything was moved: the file is where it was. */
  | { readonly kind: "nothing" }
  /** Another program is still writing to it: try again later. */
  | { readonly kind: "changing"; readonly pipeline: string; readonly label: string };

const recordBytesMax = 65_536;
const duplicatesMax = 10_000;

/** Folder of the files that wait for a decision about their item. */
const holdDirOf = (paths: DataPaths, key: string): string => join(paths.dataDir, "hold", "duplicates", key);

/**
 * Moves a file from a watched folder to an item through `work/_staging/<owner>-<id>/`: `origin.json`, the file as `source`, `plan.json`,
 * the plan's effects, removal. Each step finds out whether it was done, so {@link Staging.complete} continues after any crash.
 */
export class Staging {
  readonly #options: StagingOptions;
  /** Work directories that the store refused as taken, by staging folder. */
  readonly #dirsTaken = new Map<string, Set<string>>();
  /** Whether a staging folder may exist, from a crash or from this process. */
  #mayHaveBegun = true;
  /** Folders at which this process is at work: a share may make that long. */
  readonly #active = new Set<string>();

  constructor(options: StagingOptions) {
    this.#options = options;
  }

  get #root(): string {
    return join(this.#options.paths.workDir, "_staging");
  }

  /** Staging folders that were begun and not completed. */
  async list(): Promise<readonly string[]> {
    if (!this.#mayHaveBegun) return [];
    this.#mayHaveBegun = false;
    try {
      const names = await readdir(this.#root);
      const begun = names.filter((name) => name.startsWith(`${this.#options.owner}-`)).map((name) => join(this.#root, name));
      if (begun.length > 0) this.#mayHaveBegun = true;
      return begun.filter((dir) => !this.#active.has(dir));
    } catch (thrown) {
      if (hasCode(thrown, "ENOENT")) return [];
      this.#mayHaveBegun = true;
      throw thrown;
    }
  }

  /** Moves a file into a new staging folder and returns the folder. Nothing is left of that where the file cannot be moved. */
  async begin(file: {
    readonly pipeline: string;
    readonly label: string;
    readonly path: Buffer;
    readonly fingerprint: string;
  }): Promise<string> {
    this.#mayHaveBegun = true;
    const dir = join(this.#root, `${this.#options.owner}-${this.#options.newId()}`);
    this.#active.add(dir);
    try {
      await this.#take(dir, file);
    } finally {
      this.#active.delete(dir);
      // A look at the folders may have been under way meanwhile.
      this.#mayHaveBegun = true;
    }
    return dir;
  }

  async #take(dir: string, file: Parameters<Staging["begin"]>[0]): Promise<void> {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const { pipeline, label, fingerprint } = file;
    await replaceFile({
      path: join(dir, "origin.json"),
      text: JSON.stringify({ pipeline, label, path: file.path.toString("base64"), fingerprint } satisfies Origin),
    });
    try {
      await this.#options.access.do(moveIn, { from: file.path, to: join(dir, "source") }, { paths: [file.path] });
    } catch (thrown) {
      // On another disk it may have been copied, and then been gone before we removed it: whoever removed it has it.
      if (hasCode(thrown, "ENOENT")) await this.#forget(dir);
      throw thrown;
    }
  }

  /**
   * Completes a staged file. `finish` runs before the folder is removed, and again after a crash in between. Does nothing where that is being
   * done already.
   */
  async complete(dir: string, finish: (staged: Staged) => Promise<void>): Promise<void> {
    if (this.#active.has(dir)) return;
    this.#active.add(dir);
    try {
      const staged = await this.#carryOn(dir);
      await finish(staged);
      if (staged.kind !== "changing") await this.#forget(dir);
    } finally {
      this.#active.delete(dir);
      this.#mayHaveBegun = true;
    }
  }

  async #carryOn(dir: string): Promise<Staged> {
    const origin = await readRecord<Origin>(join(dir, "origin.json"));
    if (origin === undefined) {
      if ((await lstatOrUndefined(join(dir, "source"))) === undefined) return { kind: "nothing" };
      throw new Error(`${dir} holds a file of unknown origin: move its "source" back to the watched folder and remove ${dir}`);
    }
    const plan = (await readRecord<Plan>(join(dir, "plan.json"))) ?? (await this.#plan(dir, origin));
    if (plan === "nothing") return { kind: "nothing" };
    if (plan === "changing") return { kind: "changing", pipeline: origin.pipeline, label: origin.label };
    return plan.kind === "item" ? await this.#addItem(dir, origin, plan) : await this.#hold(dir, origin, plan);
  }

  async #plan(dir: string, origin: Origin): Promise<Plan | "nothing" | "changing"> {
    const source = join(dir, "source");
    const before = await lstatOrUndefined(source);
    if (before === undefined) return "nothing";
    if (!before.isFile()) throw new Error(`${JSON.stringify(origin.label)} is no regular file any more; it lies at ${source}`);
    const original = { path: Buffer.from(origin.path, "base64"), fingerprint: origin.fingerprint };
    await this.#options.access.do(removeLeftOriginal, original, { paths: [original.path] });
    const intake = this.#options.registry.get(origin.pipeline)?.definition.intake;
    if (intake === undefined)
      throw new Error(`the pipeline ${origin.pipeline} has no intake any more; ${JSON.stringify(origin.label)} lies at ${source}`);
    const sha256 = await sha256Of(source);
    const after = await lstat(source);
    if (after.size !== before.size || after.mtimeMs !== before.mtimeMs) return "changing";
    await syncToDisk(source);
    const key = intakeKey({ sha256, profile: intake.profile });
    const sizeBytes = after.size;
    const name = safeFileName(origin.label);
    const existing = await this.#options.store.items.byKey(origin.pipeline, key);
    const plan: Plan =
      existing === undefined
        ? { kind: "item", key, dir: await this.#freeDir(dir, { key, pipeline: origin.pipeline }), name, sha256, sizeBytes }
        : {
            kind: "duplicate",
            key,
            existingItemId: existing.id,
            // A new path each time: the store identifies duplicates by their paths.
            path: join(holdDirOf(this.#options.paths, key), `${this.#options.newId()}-${name}`),
            sizeBytes,
          };
    await replaceFile({ path: join(dir, "plan.json"), text: JSON.stringify(plan) });
    return plan;
  }

  /** A work directory that no item has, as far as is known before the store is asked. */
  async #freeDir(staging: string, item: { readonly key: string; readonly pipeline: string }): Promise<string> {
    const taken = new Set(this.#dirsTaken.get(staging));
    for (const { definition } of this.#options.registry.all()) {
      const other = definition.name === item.pipeline ? undefined : await this.#options.store.items.byKey(definition.name, item.key);
      if (other !== undefined) taken.add(other.dir);
    }
    const free = itemDirectories(item).find((dir) => !taken.has(dir));
    if (free === undefined) throw new Error(`every work directory for the key ${item.key} belongs to another item`);
    return free;
  }

  async #addItem(dir: string, origin: Origin, plan: Extract<Plan, { kind: "item" }>): Promise<Staged> {
    const { registry, store, paths, hostId } = this.#options;
    const pipeline = registry.get(origin.pipeline);
    const first = pipeline === undefined ? undefined : registry.entry(origin.pipeline, pipeline.definition.first);
    if (first === undefined) throw new Error(`the pipeline ${origin.pipeline} is not declared any more`);
    const { key, name, sha256, sizeBytes } = plan;
    const file = join(paths.workDir, plan.dir, inputFolder, name);
    // The file moves before its item is added, because a job must find its input. After a crash it may be there already.
    if (!(await this.#isGone(dir, file))) await moveOnce({ from: join(dir, "source"), to: file });
    else if ((await store.items.byKey(origin.pipeline, key)) === undefined) throw vanished(origin, dir);
    const input: TakenFileInput = { file, name: origin.label, sizeBytes, sha256 };
    try {
      const added = await store.items.add({
        pipeline: origin.pipeline,
        key,
        dir: plan.dir,
        input: JSON.stringify(input),
        label: origin.label,
        hostId,
        first,
        actor: "intake",
      });
      return { kind: "added", ...added };
    } catch (thrown) {
      if (!isWakefulError(thrown) || thrown.code !== "conflict") throw thrown;
      // Another item has the directory after all: the file goes back into staging, and the next try takes another directory.
      await rename(file, join(dir, "source"));
      await rm(join(dir, "plan.json"), { force: true });
      this.#dirsTaken.set(dir, new Set([...(this.#dirsTaken.get(dir) ?? []), plan.dir]));
      throw thrown;
    }
  }

  async #hold(dir: string, origin: Origin, plan: Extract<Plan, { kind: "duplicate" }>): Promise<Staged> {
    const { key, existingItemId, path, sizeBytes } = plan;
    const { duplicates } = this.#options.store;
    // When a crash left only this folder, the move is done already and only the row is missing.
    if (!(await this.#isGone(dir, path))) await moveOnce({ from: join(dir, "source"), to: path });
    else if (!(await duplicates.list(duplicatesMax)).some((row) => row.path === path)) throw vanished(origin, dir);
    const duplicate = { pipeline: origin.pipeline, key, existingItemId, fileName: origin.label, path, sizeBytes };
    const id = await duplicates.add(duplicate);
    return { kind: "duplicate", duplicate: { id, ...duplicate } };
  }

  /** The file is neither in staging nor at its new place. */
  async #isGone(dir: string, to: string): Promise<boolean> {
    return (await lstatOrUndefined(join(dir, "source"))) === undefined && (await lstatOrUndefined(to)) === undefined;
  }

  async #forget(dir: string): Promise<void> {
    this.#dirsTaken.delete(dir);
    await rm(dir, { recursive: true, force: true });
  }
}

const vanished = (origin: Origin, dir: string): Error =>
  new Error(`${JSON.stringify(origin.label)} was removed by somebody while it was taken in; remove ${dir} as well`);

/** Moves a file unless that has happened already; throws when it is at neither place. */
export async function moveOnce({ from, to }: { readonly from: PathLike; readonly to: string }): Promise<void> {
  await mkdir(dirname(to), { recursive: true, mode: 0o700 });
  if ((await lstatOrUndefined(from)) !== undefined) {
    await moveFile({ from, to });
    // Flushed before the store refers to it, because the store survives a power cut.
    await syncToDisk(dirname(to));
  } else if ((await lstatOrUndefined(to)) === undefined) throw new Error(`${String(from)} has vanished and is not at ${to} either`);
}

/** Moves a file from a watched folder to our own disk. */
export const moveIn: PathOperation<{ readonly from: Buffer; readonly to: string }, void> = {
  name: "move-in",
  run: async (move, alive) => await moveFile({ ...move, alive }),
};

/** A move to another disk is a copy and a removal; a crash between them leaves an original that would come in as a duplicate. */
export const removeLeftOriginal: PathOperation<{ readonly path: Buffer; readonly fingerprint: string }, void> = {
  name: "remove-left-original",
  run: async ({ path, fingerprint }) => {
    try {
      const { dev, ino, size, mtimeNs } = await lstat(path, { bigint: true });
      if (`${dev}:${ino}:${size}:${mtimeNs}` === fingerprint) await unlink(path);
    } catch (thrown) {
      if (!hasCode(thrown, "ENOENT", "ENOTDIR")) throw thrown;
    }
  },
};

/** One of our own records, written whole or not at all. */
async function readRecord<T>(path: string): Promise<T | undefined> {
  const found = await readSmallFile(path, recordBytesMax);
  if (found.kind === "absent") return undefined;
  if (found.kind === "odd") throw new Error(`${path} cannot be read: ${found.why}`);
  return JSON.parse(found.text) as T;
}
