import { mkdir, readdir, rm, rmdir } from "node:fs/promises";
import { basename, dirname, join, resolve, sep } from "node:path";
import { hasCode } from "../domain/errors.ts";
import type { Instant } from "../domain/time.ts";
import { type DataPaths, itemDirOf } from "../files/data-paths.ts";
import { safeFileName } from "../files/file-name.ts";
import type { PathAccess, PathOperation } from "../files/foreign/path-operation.ts";
import { makeSharedDirectory } from "../files/make-directory.ts";
import { freePathIn, lstatOrUndefined, moveToFree } from "../files/move-file.ts";
import { replaceFile } from "../files/regular-file.ts";
import { forgetKeptSource, inputFolder } from "../item-files/kept-source.ts";
import { compatibleTime } from "../item-files/state-file.ts";
import { intakeInputOf } from "../item-files/state-projection.ts";
import type { PipelineRegistry } from "../pipelines/registry.ts";
import type { ItemRow } from "../store/port/items.ts";
import type { DuplicateRow } from "../store/port/records.ts";
import type { Store } from "../store/port/store.ts";
import { moveOnce, type Staged, type Staging } from "./staging.ts";

export interface DuplicatesOptions {
  readonly store: Pick<Store, "items" | "duplicates">;
  readonly registry: PipelineRegistry;
  readonly paths: DataPaths;
  /** How archive folders are reached. */
  readonly access: PathAccess;
  readonly baseDir: string;
  readonly staging: Staging;
}

type HeldFile = Extract<Staged, { kind: "duplicate" }>["duplicate"];

/** `done`: carried out. `waiting`: the item is still at work, and a rerun waits for its end. */
type CarriedOut = "done" | "waiting";

/** Files that are items already: kept, announced in the compatible form, and handled once somebody decided. */
export class DuplicateDecisions {
  readonly #options: DuplicatesOptions;

  constructor(options: DuplicatesOptions) {
    this.#options = options;
  }

  /** Announces a held file to programs that know the compatible form: `status.json` beside it, and a report. */
  async announce(held: HeldFile, now: Instant): Promise<void> {
    const { registry, store } = this.#options;
    const existing = await store.items.get(held.existingItemId);
    await replaceFile({
      path: join(dirname(held.path), "status.json"),
      text: `${JSON.stringify({ jobKey: held.key, state: "DUPLICATE_PENDING", updatedAt: compatibleTime(now) }, null, 2)}\n`,
    });
    const report = {
      jobKey: held.key,
      detectedAt: compatibleTime(now),
      incoming: { fileName: held.fileName, path: held.path, sizeBytes: held.sizeBytes },
      existing: { itemId: held.existingItemId, state: existing?.state ?? null, inputName: existing?.label ?? null },
      profile: registry.get(held.pipeline)?.definition.intake?.profile ?? {},
      actions: ["USE_EXISTING_RESULT", "DISCARD", "FORCE_REPROCESS"],
    };
    await mkdir(dirname(this.#reportPath(held.key)), { recursive: true, mode: 0o700 });
    await replaceFile({ path: this.#reportPath(held.key), text: `${JSON.stringify(report, null, 2)}\n` });
  }

  /** Carries a decision out. Every step first checks whether it was done, so repeating it repairs a crash at any line. */
  async carryOut(row: DuplicateRow): Promise<CarriedOut> {
    if (!row.path.startsWith(join(this.#options.paths.dataDir, "hold", "duplicates") + sep)) {
      throw new Error(`duplicate ${row.id} lies outside the hold folder: ${row.path}`);
    }
    const carried = await this.#carryOut(row);
    if (carried === "waiting") return carried;
    await this.#tidy(row);
    await this.#options.store.duplicates.finish(row.id);
    return carried;
  }

  async #carryOut(row: DuplicateRow): Promise<CarriedOut> {
    switch (row.decision) {
      case "discard":
        await rm(row.path, { force: true });
        return "done";
      case "use_existing":
        await this.#archive(row);
        return "done";
      case "reprocess":
        return await this.#reprocess(row);
      case null:
        return "waiting";
    }
  }

  async #archive(row: DuplicateRow): Promise<void> {
    if ((await lstatOrUndefined(row.path)) === undefined) return;
    const intake = this.#options.registry.get(row.pipeline)?.definition.intake;
    if (intake === undefined)
      throw new Error(`the pipeline ${row.pipeline} has no intake any more, so ${row.path} has no archive to go to`);
    const dir = resolve(this.#options.baseDir, intake.archiveDir);
    await this.#options.access.do(archiveFile, { from: row.path, dir, name: safeFileName(row.fileName) }, { paths: [dir] });
  }

  /**
   * Runs the item again from its first stage with the new file as input. The file moves first; a visit of the first stage opened after the
   * decision proves that the rerun has happened.
   */
  async #reprocess(row: DuplicateRow): Promise<CarriedOut> {
    const { store, registry } = this.#options;
    const held = (await lstatOrUndefined(row.path)) !== undefined;
    const item = await store.items.get(row.existingItemId);
    if (item === undefined) {
      // Retention removed the original, so the file is simply new.
      if (held)
        await this.#options.staging.begin({
          pipeline: row.pipeline,
          label: row.fileName,
          path: Buffer.from(row.path),
          fingerprint: `duplicate ${row.id}`,
        });
      return "done";
    }
    const first = registry.get(row.pipeline)?.definition.first;
    const entry = first === undefined ? undefined : registry.entry(row.pipeline, first);
    if (first === undefined || entry === undefined)
      throw new Error(`the pipeline ${row.pipeline} is not declared any more, so its item ${item.id} cannot run again`);
    if (await this.#ranAgain(item, { first, since: row.decidedAt ?? row.detectedAt })) {
      // The file is still held because another duplicate of the same content, decided together with this one, brought file and rerun.
      if (held) await this.#archive(row);
      return "done";
    }
    if (item.finishedAt === null) return "waiting";
    if (held) await this.#replaceInput(item, row);
    const uncounted = registry.stagesFrom(row.pipeline, first);
    const jobId = await store.items.rerun(item.id, { entry, uncounted, actor: "intake" });
    return jobId === undefined ? "waiting" : "done";
  }

  async #ranAgain(item: ItemRow, { first, since }: { readonly first: string; readonly since: Instant }): Promise<boolean> {
    const visits = await this.#options.store.items.visits(item.id);
    return visits.some((visit) => visit.stage === first && visit.number > 1 && visit.openedAt >= since);
  }

  async #replaceInput(item: ItemRow, row: DuplicateRow): Promise<void> {
    const itemDir = itemDirOf(this.#options.paths, item.dir);
    const inputDir = join(itemDir, inputFolder);
    const known = intakeInputOf(item)?.file;
    // An item submitted by hand reads its input from elsewhere, so the file is only kept beside its work.
    const to = known !== undefined && dirname(known) === inputDir ? known : join(inputDir, safeFileName(row.fileName));
    // The new file must return to its owner when the item ends, like the one before.
    await forgetKeptSource(itemDir);
    await moveOnce({ from: row.path, to });
  }

  /** Removes the folder and report of a decision once nothing is held under its key. */
  async #tidy(row: DuplicateRow): Promise<void> {
    const dir = dirname(row.path);
    let left: readonly string[];
    try {
      left = await readdir(dir);
    } catch (thrown) {
      if (hasCode(thrown, "ENOENT")) return;
      throw thrown;
    }
    if (left.some((name) => name !== "status.json" && name !== basename(row.path))) return;
    await rm(join(dir, "status.json"), { force: true });
    await rm(this.#reportPath(row.key), { force: true });
    try {
      await rmdir(dir);
    } catch (thrown) {
      // Another duplicate of the key, or a decision, has just arrived.
      if (!hasCode(thrown, "ENOTEMPTY", "EEXIST", "ENOENT")) throw thrown;
    }
  }

  #reportPath(key: string): string {
    return join(this.#options.paths.dataDir, "reports", "duplicates", `${key}.json`);
  }
}

/** Moves a file of ours to an archive folder, under a name that is free there. */
export const archiveFile: PathOperation<{ readonly from: string; readonly dir: string; readonly name: string }, void> = {
  name: "archive-file",
  run: async ({ from, dir, name }, alive) => {
    await makeSharedDirectory(dir);
    const to = await freePathIn({ from, dir, name });
    if (!(await moveToFree({ from, to, alive }))) throw new Error(`another file took the place ${to}; it is tried again`);
  },
};
