import { lstat, mkdir, rm } from "node:fs/promises";
import { dirname, join, resolve, sep } from "node:path";
import { hasCode } from "../domain/errors.ts";
import { safeFileName } from "../files/file-name.ts";
import { isSameFile, keepIn, lstatOrUndefined } from "../files/move-file.ts";
import { replaceFile } from "../files/regular-file.ts";
import { readSmallFile, syncToDisk } from "../files/small-file.ts";
import type { PipelineRegistry } from "../pipelines/registry.ts";
import type { ItemRow } from "../store/port/items.ts";
import { intakeInputOf } from "./state-projection.ts";

export interface SourceKeeperOptions {
  readonly registry: PipelineRegistry;
  /** `work/` of the data directory, absolute. */
  readonly workDir: string;
  /** Where relative folders of a pipeline's intake start. */
  readonly baseDir: string;
}

/** Where the source of a finished item was put; beside the item's work, so that doing it again after a crash changes nothing. */
interface KeptSource {
  readonly where: "archive" | "error";
  readonly path: string;
}

const markerName = ".source.json";
const markerBytesMax = 65_536;

/** Folder of the item's source inside its work directory. */
export const inputFolder = "input";

/**
 * Gives the source file of a finished item back to its owner: to the pipeline's `archiveDir` when the item is done, else to `errorDir`
 * with the reason. The work directory keeps its own name for the file until retention removes it, so that the item can be run again.
 */
export class SourceKeeper {
  readonly #options: SourceKeeperOptions;

  constructor(options: SourceKeeperOptions) {
    this.#options = options;
  }

  /**
   * Keeps the source of a finished item; repeatable. Answers whether nothing of the owner's would be lost with the work directory:
   * false when the pipeline's folders are not known any more.
   */
  async keep(item: ItemRow): Promise<boolean> {
    const input = intakeInputOf(item);
    const itemDir = join(this.#options.workDir, item.dir);
    if (input === undefined || !input.file.startsWith(join(itemDir, inputFolder) + sep)) return true;
    const source = await lstatOrUndefined(input.file);
    // A step that removed or replaced its input has taken it from us; there is nothing that could be given back.
    if (source?.isFile() !== true) return true;
    const where = item.state === "done" ? "archive" : "error";
    const before = await readMarker(itemDir);
    if (before?.where === where) return true;
    const intake = this.#options.registry.get(item.pipeline)?.definition.intake;
    if (intake === undefined) return false;
    const dir = resolve(this.#options.baseDir, where === "archive" ? intake.archiveDir : intake.errorDir);
    await mkdir(dir, { recursive: true });
    const path = await keepIn({ from: input.file, dir, name: safeFileName(input.name) });
    if (where === "error") await replaceFile({ path: reasonPath(path), text: reasonText({ fileName: input.name, item }) });
    await syncToDisk(dir);
    await replaceFile({ path: join(itemDir, markerName), text: `${JSON.stringify({ where, path } satisfies KeptSource)}\n` });
    if (before?.where === "error")
      await this.#takeBack(before, { source: input.file, errorDir: resolve(this.#options.baseDir, intake.errorDir) });
    return true;
  }

  /** An item that failed and was done later has its source in the archive alone. */
  async #takeBack(kept: KeptSource, { source, errorDir }: { readonly source: string; readonly errorDir: string }): Promise<void> {
    if (dirname(kept.path) !== errorDir || !(await isSameFile(kept.path, source))) return;
    await rm(kept.path, { force: true });
    await rm(reasonPath(kept.path), { force: true });
  }
}

/** Forgets that the item's source was kept, because a new file is about to take its place. */
export async function forgetKeptSource(itemDir: string): Promise<void> {
  await rm(join(itemDir, markerName), { force: true });
}

/** Whether a work directory without an item holds a source that nobody has been given back. */
export async function holdsUnkeptSource(itemDir: string): Promise<boolean> {
  if ((await readMarker(itemDir)) !== undefined) return false;
  try {
    return (await lstat(join(itemDir, inputFolder))).isDirectory();
  } catch (thrown) {
    if (hasCode(thrown, "ENOENT", "ENOTDIR")) return false;
    throw thrown;
  }
}

/** Where the reason of a file in an error folder stands. */
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
    // Written by something else than us: keeping the file once more than needed harms nothing.
    return undefined;
  }
}
