import { watch } from "node:fs";
import { mkdir } from "node:fs/promises";
import { resolve } from "node:path";
import type { LoopSettings, LoopSwitch } from "../config/loop-settings.ts";
import { hasCode, messageOf } from "../domain/errors.ts";
import type { HostId } from "../domain/ids.ts";
import { type DurationMs, type Instant, minutes } from "../domain/time.ts";
import type { DataPaths } from "../files/data-paths.ts";
import { safeFileName } from "../files/file-name.ts";
import { freeDiskBytes } from "../files/free-disk.ts";
import { makeSharedDirectory } from "../files/make-directory.ts";
import { freePathIn, lstatOrUndefined, moveToFree } from "../files/move-file.ts";
import { replaceFile } from "../files/regular-file.ts";
import { reasonPath } from "../item-files/kept-source.ts";
import type { Loop, TickContext, TickReport } from "../loops/skeleton/loop.ts";
import type { LoopReports } from "../loops/skeleton/loop-reports.ts";
import { type LoopParts, type LoopSpec, ownSwitch } from "../loops/skeleton/loop-spec.ts";
import type { RaiseAlert, Tell } from "../notify/raise-alert.ts";
import type { IntakeDefinition } from "../pipelines/definition.ts";
import type { PipelineRegistry } from "../pipelines/registry.ts";
import type { Host } from "../processes/probe/host.ts";
import type { Chance } from "../runtime/entropy.ts";
import { modeForPeople } from "../runtime/umask.ts";
import type { Store } from "../store/port/store.ts";
import { DecisionFiles } from "./decision-files.ts";
import { DuplicateDecisions } from "./duplicates.ts";
import { checkFile, type IntakeAnswer } from "./file-checks.ts";
import { type Staged, Staging } from "./staging.ts";
import { type FoundFile, WatchedFolder } from "./watched-folder.ts";

export interface IntakeDeps {
  readonly store: Pick<Store, "items" | "duplicates">;
  readonly alert: RaiseAlert;
  readonly registry: PipelineRegistry;
  /** Absolute. */
  readonly paths: DataPaths;
  /** Folder of wakeful.yaml, where relative folders of an intake start. */
  readonly baseDir: string;
  /** The host's id: what a crashed daemon of this host began is completed; another host's entries are left alone. */
  readonly hostId: HostId;
  /** A new id, safe as a file name and never given before. */
  readonly newId: () => string;
  /** Wall time, epoch milliseconds. */
  readonly wall: () => number;
  /** Files taken in one tick; default 20. */
  readonly filesMax?: number | undefined;
  /** Free bytes on the disk of a folder; by default the system is asked. */
  readonly freeBytes?: ((path: string) => Promise<number>) | undefined;
}

interface Folder {
  readonly pipeline: string;
  readonly intake: IntakeDefinition;
  readonly watched: WatchedFolder;
}

type Counter = "taken" | "duplicates" | "input_rejected_size" | "input_rejected_signature" | "disk_error";

/** How often a lasting failure is reported again. */
const tellAgainMs: DurationMs = minutes(1);
/** A tick that has read this much leaves the rest to the next, which follows at once: hashing takes about 2 s for a gigabyte. */
const bytesMax = 2 ** 30;

/**
 * Makes items of files in watched folders. A tick completes what a crash cut short, carries out decisions about duplicates, and then looks
 * for new files. One file or folder that fails never stops the others.
 */
export class IntakeLoop implements Loop<"intake"> {
  readonly name = "intake";
  readonly #deps: IntakeDeps;
  readonly #filesMax: number;
  readonly #freeBytes: (path: string) => Promise<number>;
  readonly #staging: Staging;
  readonly #decisions: DuplicateDecisions;
  readonly #decisionFiles: DecisionFiles;
  readonly #folders: readonly Folder[];
  readonly #counters: Record<Counter, number> = {
    taken: 0,
    duplicates: 0,
    input_rejected_size: 0,
    input_rejected_signature: 0,
    disk_error: 0,
  };
  /** Files that wait for disk, so that each is counted and reported once. */
  readonly #shortOfDisk = new Set<string>();
  readonly #failuresTold = new Map<string, { readonly message: string; readonly at: Instant }>();

  constructor(deps: IntakeDeps) {
    const { store, registry, paths, baseDir, hostId, newId, filesMax = 20, freeBytes = freeDiskBytes } = deps;
    this.#deps = deps;
    this.#filesMax = filesMax;
    this.#freeBytes = freeBytes;
    this.#staging = new Staging({ store, registry, paths, owner: hostId.replace(/[^A-Za-z0-9]/g, "_"), hostId, newId });
    this.#decisions = new DuplicateDecisions({ store, registry, paths, baseDir, staging: this.#staging });
    this.#decisionFiles = new DecisionFiles({ store, paths, alert: deps.alert });
    this.#folders = foldersOf(registry, baseDir);
  }

  details(): LoopReports["intake"] {
    return { ...this.#counters, waiting_for_disk: this.#shortOfDisk.size };
  }

  /** On any change in the folders. Only a hint: the tick finds everything by itself. */
  watchHints(onHint: () => void): () => void {
    return watchFolders(
      this.#folders.map(({ watched }) => watched.dir),
      onHint,
    );
  }

  async tick(context: TickContext): Promise<TickReport> {
    const tally: Tally = { seen: 0, settled: 0, failed: 0, handled: 0, bytes: 0, decided: false, nextInMs: undefined, would: [] };
    if (!context.dryRun) await this.#goOn(tally, context);
    await this.#carryOutDecisions(tally, context);
    for (const folder of this.#folders) {
      if (context.signal.aborted) break;
      await this.#apart(tally, `folder ${folder.watched.dir}`, context, async () => await this.#look(folder, tally, context));
    }
    // A decision by policy in this tick need not wait for the next one.
    if (tally.decided) await this.#carryOutDecisions(tally, context);
    const { seen, settled, failed, nextInMs, would } = tally;
    return { seen, settled, lost: 0, failed, nextInMs, would: context.dryRun ? would : undefined };
  }

  /** Completes what was begun, and reads what people decided. */
  async #goOn(tally: Tally, context: TickContext): Promise<void> {
    for (const dir of await this.#staging.list()) {
      if (context.signal.aborted) break;
      await this.#apart(tally, dir, context, async () => await this.#complete(dir, tally, context));
    }
    await this.#apart(tally, "decision files", context, async () => {
      await this.#decisionFiles.read(context.now);
    });
  }

  #tellFailure(subject: string, thrown: unknown, { emit, now }: TickContext): void {
    const message = messageOf(thrown);
    const before = this.#failuresTold.get(subject);
    if (before?.message === message && now - before.at < tellAgainMs) return;
    if (this.#failuresTold.size > 1000) this.#failuresTold.clear();
    this.#failuresTold.set(subject, { message, at: now });
    emit("loop.subject_failed", { loop: "intake", subject, message });
  }

  /** Runs one step of the tick for one subject; a failure is reported and counted, and the tick goes on. */
  async #apart(tally: Tally, subject: string, context: TickContext, step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (thrown) {
      tally.failed += 1;
      this.#tellFailure(subject, thrown, context);
    }
  }

  async #complete(dir: string, tally: Tally, context: TickContext): Promise<void> {
    await this.#staging.complete(dir, async (staged) => await this.#finish(staged, tally, context));
  }

  async #finish(staged: Staged, tally: Tally, context: TickContext): Promise<void> {
    switch (staged.kind) {
      case "nothing":
        return;
      case "changing":
        context.emit("intake.waited", { pipeline: staged.pipeline, fileName: staged.label, reason: "it is still being written to" });
        return;
      case "added": {
        const { item, created } = staged;
        tally.settled += 1;
        this.#counters.taken += 1;
        if (created) context.emit("item.added", { itemId: item.id, pipeline: item.pipeline, key: item.key, label: item.label });
        return;
      }
      case "duplicate": {
        const { duplicate } = staged;
        tally.settled += 1;
        this.#counters.duplicates += 1;
        this.#decisionFiles.expect();
        const policy = this.#deps.registry.get(duplicate.pipeline)?.definition.intake?.duplicates ?? "hold";
        if (policy !== "hold") {
          await this.#deps.store.duplicates.decide(duplicate.id, policy, "intake");
          tally.decided = true;
          return;
        }
        await this.#decisions.announce(duplicate, context.now);
        context.emit("intake.duplicate_held", { pipeline: duplicate.pipeline, fileName: duplicate.fileName, duplicateId: duplicate.id });
      }
    }
  }

  async #take(folder: Folder, file: FoundFile, tally: Tally, context: TickContext): Promise<void> {
    const { pipeline, intake } = folder;
    const freeBytes = async (): Promise<number> => {
      // It may have been removed meanwhile; only a file that needs it makes it again.
      const { workDir } = this.#deps.paths;
      await mkdir(workDir, { recursive: true, mode: 0o700 });
      return await this.#freeBytes(workDir);
    };
    const answer = await unlessGone(file, async () => await checkFile(file, intake, freeBytes));
    const waitingKey = `${pipeline} ${file.fingerprint}`;
    if (context.dryRun) {
      const what = { take: "take", reject: "reject", wait: "wait with" }[answer.kind];
      tally.would.push(`${pipeline}: ${what} ${file.label}${answer.kind === "take" ? "" : `: ${answer.reason}`}`);
      return;
    }
    if (answer.kind !== "wait") this.#shortOfDisk.delete(waitingKey);
    switch (answer.kind) {
      case "take": {
        const { label, path, fingerprint } = file;
        await this.#complete(
          await unlessGone(file, async () => await this.#staging.begin({ pipeline, label, path, fingerprint })),
          tally,
          context,
        );
        return;
      }
      case "reject":
        await unlessGone(file, async () => await this.#reject(folder, file, answer, context));
        tally.settled += 1;
        return;
      case "wait":
        if (this.#shortOfDisk.has(waitingKey)) return;
        this.#shortOfDisk.add(waitingKey);
        this.#counters.disk_error += 1;
        context.emit("intake.waited", { pipeline, fileName: file.label, reason: answer.reason });
        await this.#deps.alert({
          cause: `intake.disk:${pipeline}`,
          title: `Too little disk to take ${file.label} into ${pipeline}: ${answer.reason}`,
          details: { ...answer, pipeline },
        });
    }
  }

  async #reject(
    { pipeline, intake }: Folder,
    file: FoundFile,
    { counter: code, reason }: Extract<IntakeAnswer, { readonly kind: "reject" }>,
    { emit }: TickContext,
  ): Promise<void> {
    const { baseDir, wall } = this.#deps;
    const at = new Date(wall()).toISOString();
    await rejectFile({ file, errorDir: resolve(baseDir, intake.errorDir), pipeline, code, reason, at });
    this.#counters[code] += 1;
    emit("intake.rejected", { pipeline, fileName: file.label, reason });
  }

  async #carryOutDecisions(tally: Tally, context: TickContext): Promise<void> {
    for (const row of await this.#deps.store.duplicates.listDecided()) {
      if (context.signal.aborted) return;
      await this.#apart(tally, `duplicate ${row.id}`, context, async () => {
        if (context.dryRun) tally.would.push(`duplicate ${row.fileName}: ${row.decision}`);
        else if ((await this.#decisions.carryOut(row)) === "done") tally.settled += 1;
      });
    }
  }

  async #look(folder: Folder, tally: Tally, context: TickContext): Promise<void> {
    const { pipeline, watched } = folder;
    const scan = await watched.scan(context.now);
    tally.seen += scan.ready.length + scan.growing;
    if (scan.nextReadyInMs !== undefined) tally.nextInMs = Math.min(tally.nextInMs ?? scan.nextReadyInMs, scan.nextReadyInMs);
    for (const { label, why } of scan.odd) context.emit("intake.waited", { pipeline, fileName: label, reason: why });
    for (const file of scan.ready) {
      if (context.signal.aborted) return;
      if (tally.handled >= this.#filesMax || tally.bytes >= bytesMax) {
        tally.nextInMs = 0;
        return;
      }
      const waitedBefore = this.#shortOfDisk.has(`${pipeline} ${file.fingerprint}`);
      await this.#apart(tally, `${pipeline}: ${file.label}`, context, async () => {
        try {
          await this.#take(folder, file, tally, context);
        } catch (thrown) {
          if (!(thrown instanceof FileGoneError)) throw thrown;
          context.emit("intake.file_gone", { pipeline, fileName: file.label });
        }
      });
      // A file that goes on waiting costs nothing, and must not use up the turn of those behind it.
      if (waitedBefore) continue;
      tally.handled += 1;
      tally.bytes += file.sizeBytes;
    }
  }
}

/** Another daemon that watches the folder was first, or its owner took the file away: nobody's failure. */
class FileGoneError extends Error {
  override readonly name = "FileGoneError";
}

/** @throws {FileGoneError} The step found no such file, and there is none. */
async function unlessGone<T>({ path }: FoundFile, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (cause) {
    if (hasCode(cause, "ENOENT") && (await lstatOrUndefined(path)) === undefined) throw new FileGoneError("the file is gone", { cause });
    throw cause;
  }
}

function foldersOf(registry: PipelineRegistry, baseDir: string): readonly Folder[] {
  return registry.all().flatMap(({ definition: { name, intake } }) => {
    if (intake === undefined) return [];
    const { match, minStableMs } = intake;
    return [{ pipeline: name, intake, watched: new WatchedFolder({ dir: resolve(baseDir, intake.watch), match, minStableMs }) }];
  });
}

interface Tally {
  seen: number;
  settled: number;
  failed: number;
  /** Files that were taken, refused or failed, which `filesMax` bounds. */
  handled: number;
  /** Their sizes, which bound what is read. */
  bytes: number;
  decided: boolean;
  nextInMs: DurationMs | undefined;
  readonly would: string[];
}

function watchFolders(dirs: readonly string[], onHint: () => void): () => void {
  const watchers = dirs.flatMap((dir) => {
    try {
      const watcher = watch(dir, { persistent: false }, () => onHint());
      // The folder was removed, or the system is out of watches: the tick sees everything anyway.
      watcher.on("error", () => watcher.close());
      return [watcher];
    } catch {
      // There is no folder yet, or no watch to be had: the interval alone finds its files.
      return [];
    }
  });
  return () => {
    for (const watcher of watchers) watcher.close();
  };
}

interface Rejection {
  readonly file: FoundFile;
  readonly errorDir: string;
  readonly pipeline: string;
  readonly code: string;
  readonly reason: string;
  /** Wall time as text, for people. */
  readonly at: string;
}

/**
 * Moves a refused file to the error folder with the reason beside it. The reason is written first: after a crash between the two, the next
 * look finds the file and writes the same reason again.
 */
async function rejectFile({ file, errorDir, pipeline, code, reason, at }: Rejection): Promise<string> {
  await makeSharedDirectory(errorDir);
  const to = await freePathIn({ from: file.path, dir: errorDir, name: safeFileName(file.label) });
  await replaceFile({
    path: reasonPath(to),
    text: `${JSON.stringify({ fileName: file.label, pipeline, code, reason, sizeBytes: file.sizeBytes, at }, null, 2)}\n`,
    mode: modeForPeople(0o666),
  });
  if (!(await moveToFree({ from: file.path, to }))) throw new Error(`another file took the place ${to}; it is tried again`);
  return to;
}

/** What a process that runs the intake builds it of. */
export interface IntakeParts extends LoopParts, Pick<IntakeDeps, "store" | "registry"> {
  readonly host: Pick<Host, "identity" | "paths" | "clock">;
  readonly tell: Tell;
  readonly chance: Pick<Chance, "newId">;
  readonly settings: () => LoopSwitch<"intake"> & Pick<LoopSettings, "intake" | "baseDir">;
}

export const intakeSpec: LoopSpec<"intake", IntakeParts> = {
  name: "intake",
  kind: "host",
  intervalMs: ({ intake }) => intake.pollMs,
  enabled: ownSwitch("intake"),
  wokenBy: [],
  build: ({ store, registry, host, tell, chance, settings }) =>
    new IntakeLoop({
      store,
      registry,
      paths: host.paths,
      hostId: host.identity.hostId,
      baseDir: settings().baseDir,
      alert: tell.alert,
      newId: chance.newId,
      wall: () => host.clock.wall(),
    }),
};
