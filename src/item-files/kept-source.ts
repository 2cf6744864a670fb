import { lstat, rm } from "node:fs/promises";
import { dirname, join, resolve, sep } from "node:path";
import { hasCode } from "../domain/errors.ts";
import { safeFileName } from "../files/file-name.ts";
import type { PathAccess, PathOperation } from "../files/foreign/path-operation.ts";
import { makeSharedDirectory } from "../files/make-directory.ts";
import { isSameFile, keepIn, lstatOrUndefined } from "../files/move-file.ts";
import { replaceFile } from "../files/regular-file.ts";
import { readSmallFile, syncToDisk } from "../files/small-file.ts";
import type { PipelineRegistry } from "../pipelines/registry.ts";
import { modeForPeople } from "../runtime/umask.ts";
import type { ItemRow } from "../store/port/items.ts";
import { intakeInputOf } from "./state-projection.ts";

export interface SourceKeeperOptions {
  readonly registry: PipelineRegistry;
  /** `work/` of the data directory, absolute. */
  readonly workDir: string;
  /** Where relative folders of a pipeline's intake start. */
  readonly baseDir: string;
  /** How archive and error folders are reached. */
  readonly access: PathAccess;
}

/** Where a finished item's source was put, stored beside its work so that a repetition after a crash changes nothing. */
interface KeptSource {
  readonly where: "archive" | "error";
  readonly path: string;
}

const markerName = ".source.json";
const markerBytesMax = 65_536;

/** The folder of the item's source inside its work directory. */
export const inputFolder = "input";

/**
 * Returns a finished item's source file to its owner: to `archiveDir` when done, else to `errorDir` with the reason. The work directory
 * keeps a name of its own for the file until retention, so that the item can run again.
 */
export class SourceKeeper {
  readonly #options: SourceKeeperOptions;

  constructor(options: SourceKeeperOptions) {
    this.#options = options;
  }

  /**
   * Keeps the source of a finished item; repeatable. Returns whether the work directory may go without loss to the owner: false when the
   * pipeline's folders are not known.
   */
  async keep(item: ItemRow): Promise<boolean> {
    const input = intakeInputOf(item);
    const itemDir = join(this.#options.workDir, item.dir);
    if (input === undefined || !input.file.startsWith(join(itemDir, inputFolder) + sep)) return true;
    const source = await lstatOrUndefined(input.file);
    // A step removed or replaced its input, so nothing is left to return.
    if (source?.isFile() !== true) return true;
    const where = item.state === "done" ? "archive" : "error";
    const before = await readMarker(itemDir);
    if (before?.where === where) return true;
    const intake = this.#options.registry.get(item.pipeline)?.definition.intake;
    if (intake === undefined) return false;
    const dir = resolve(this.#options.baseDir, where === "archive" ? intake.archiveDir : intake.errorDir);
    const { access } = this.#options;
    const reason = where === "error" ? reasonText({ fileName: input.name, item }) : undefined;
    const kept = { from: input.file, dir, name: safeFileName(input.name), reason, mode: modeForPeople(0o666) };
    const path = await access.do(keepFile, kept, { paths: [dir] });
    await replaceFile({ path: join(itemDir, markerName), text: `${JSON.stringify({ where, path } satisfies KeptSource)}\n` });
    if (before?.where === "error")
      await this.#takeBack(before, { source: input.file, errorDir: resolve(this.#options.baseDir, intake.errorDir) });
    return true;
  }

  /** The source of an item that failed and later succeeded stays in the archive alone. */
  async #takeBack(kept: KeptSource, { source, errorDir }: { readonly source: string; readonly errorDir: string }): Promise<void> {
    if (dirname(kept.path) !== errorDir) return;
    await this.#options.access.do(takeBackFile, { path: kept.path, source }, { paths: [kept.path] });
  }
}

interface KeptFile {
  readonly from: string;
  readonly dir: string;
  readonly name: string;
  /** Written beside it. Undefined: nothing is. */
  readonly reason: string | undefined;
  readonly mode: number | undefined;
}

/** Gives a file of ours a name in an archive or error folder. Answers its path there. */
export const keepFile: PathOperation<KeptFile, string> = {
  name: "keep-file",
  run: async ({ from, dir, name, reason, mode }, alive) => {
    await makeSharedDirectory(dir);
    const path = await keepIn({ from, dir, name, alive });
    if (reason !== undefined) await replaceFile({ path: reasonPath(path), text: reason, mode });
    await syncToDisk(dir);
    return path;
  },
};

/** Removes the name of a file of ours in an error folder, and its reason; nothing where another file has the name. */
export const takeBackFile: PathOperation<{ readonly path: string; readonly source: string }, void> = {
  name: "take-back-file",
  run: async ({ path, source }) => {
    if (!(await isSameFile(path, source))) return;
    await rm(path, { force: true });
    await rm(reasonPath(path), { force: true });
  },
};

/** Forgets that the item's source was kept, because a new file will replace it. */
export async function forgetKeptSource(itemDir: string): Promise<void> {
  await rm(join(itemDir, markerName), { force: true });
}

/** Whether a work directory without an item holds a source that was not returned to its owner. */
export async function holdsUnkeptSource(itemDir: string): Promise<boolean> {
  if ((await readMarker(itemDir)) !== undefined) return false;
  try {
    return (await lstat(join(itemDir, inputFolder))).isDirectory();
  } catch (thrown) {
    if (hasCode(thrown, "ENOENT", "ENOTDIR")) return false;
    throw thrown;
  }
}

/** The path of the reason for a file in an error folder. */
export const reasonPath = (path: string): string => `${path}.reason.json`;

function reasonText({ fileName, item }: { readonly fileName: string; readonly item: ItemRow }): string {
  const { pipeline, key, id, state, stage, error } = item;
  const reason = error ?? (state === "cancelled" ? "cancelled by a person" : "failed");
  return `${JSON.stringify({ fileName, pipeline, jobKey: key, itemId: id, state, stage, reason }, null, 2)}\n`;
}

async function readMarker(itemDir: string): Promise<KeptSource | undefined> {
  const found = await readSmallFile(join(itemDir, markerName), markerBytesMax);
  if (found.kind !== "text") return undefined;
  try {
    const marker: unknown = JSON.parse(found.text);
    if (typeof marker !== "object" || marker === null || !("where" in marker) || !("path" in marker)) return undefined;
    const { where, path } = marker;
    return (where === "archive" || where === "error") && typeof path === "string" ? { where, path } : undefined;
  } catch {
    // Another program wrote it: keeping the file once more than needed does no harm.
    return undefined;
  }
}
