import { watch } from "node:fs";
import { mkdir } from "node:fs/promises";
import { resolve } from "node:path";
import type { LoopSettings, LoopSwitch } from "../config/loop-settings.ts";
import { hasCode, messageOf } from "../domain/errors.ts";
import type { HostId } from "../domain/ids.ts";
import { type DurationMs, type Instant, minutes } from "../domain/time.ts";
import type { DataPaths } from "../files/data-paths.ts";
import { safeFileName } from "../files/file-name.ts";
import type { PathAccess, PathOperation } from "../files/foreign/path-operation.ts";
import { freeDiskBytes } from "../files/free-disk.ts";
import { lstatOrUndefined } from "../files/move-file.ts";
import type { Loop, TickContext, TickReport } from "../loops/skeleton/loop.ts";
import type { LoopReports } from "../loops/skeleton/loop-reports.ts";
import { type LoopParts, type LoopSpec, ownSwitch } from "../loops/skeleton/loop-spec.ts";
import type { RaiseAlert, Tell } from "../notify/raise-alert.ts";
import type { IntakeDefinition } from "../pipelines/definition.ts";
import type { PipelineRegistry } from "../pipelines/registry.ts";
import type { Host } from "../processes/probe/host.ts";
import type { Chance } from "../runtime/entropy.ts";
import { within } from "../runtime/time-limit.ts";
import { modeForPeople } from "../runtime/umask.ts";
import type { Store } from "../store/port/store.ts";
import { DecisionFiles } from "./decision-files.ts";
import { DuplicateDecisions } from "./duplicates.ts";
import { checkFile, type IntakeAnswer } from "./file-checks.ts";
import { rejectFile } from "./reject-file.ts";
import { type Staged, Staging } from "./staging.ts";
import { type FoundFile, WatchedFolder } from "./watched-folder.ts";

/** Where configured folders are, and how they are reached. */
interface ConfiguredFolders {
  /** Folder of wakeful.yaml, where relative folders of an intake start. */
  readonly baseDir: string;
  readonly access: PathAccess;
}

export interface IntakeDeps {
  readonly folders: ConfiguredFolders;
  readonly store: Pick<Store, "items" | "duplicates">;
  readonly alert: RaiseAlert;
  readonly registry: PipelineRegistry;
  /** Absolute. */
  readonly paths: DataPaths;
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
  /** Absolute; of the folder itself and of the one for refused files. */
  readonly dirs: readonly string[];
}

type Counter = "taken" | "duplicates" | "input_rejected_size" | "input_rejected_signature" | "disk_error";

/** How long a tick waits for folders on shares: it ends without them, and they go on beside it. */
const shareWaitMs: DurationMs = 500;
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
  /** Folders on shares that are being looked at; what they found since the last tick ended. */
  readonly #beside = new Set<Folder>();
  #found: Tally[] = [];
  readonly #failuresTold = new Map<string, { readonly message: string; readonly at: Instant }>();

  constructor(deps: IntakeDeps) {
    const { store, registry, paths, folders, hostId, newId, filesMax = 20, freeBytes = freeDiskBytes } = deps;
    this.#deps = deps;
    this.#filesMax = filesMax;
    this.#freeBytes = freeBytes;
    this.#staging = new Staging({
      store,
      registry,
      paths,
      access: folders.access,
      owner: hostId.replace(/[^A-Za-z0-9]/g, "_"),
      hostId,
      newId,
    });
    this.#decisions = new DuplicateDecisions({ store, registry, paths, ...folders, staging: this.#staging });
    this.#decisionFiles = new DecisionFiles({ store, paths, alert: deps.alert });
    this.#folders = foldersOf(registry, folders);
  }

  details(): LoopReports["intake"] {
    return { ...this.#counters, waiting_for_disk: this.#shortOfDisk.size };
  }

  /** On any change in the folders. Only a hint: the tick finds everything by itself. */
  watchHints(onHint: () => void): () => void {
    // A watch of a folder on a share is set on the main thread, which may never return from it. It would not tell of others' changes either.
    const local = this.#folders.map(({ watched }) => watched.dir).filter((dir) => !this.#deps.folders.access.isForeign(dir));
    return watchFolders(local, onHint);
  }

  async tick(context: TickContext): Promise<TickReport> {
    const tally = emptyTally();
    if (!context.dryRun) await this.#goOn(tally, context);
    await this.#carryOutDecisions(tally, context);
    const { access } = this.#deps.folders;
    const local = this.#folders.filter(({ dirs }) => !dirs.some((dir) => access.isForeign(dir)));
    const beside = this.#lookBeside(
      this.#folders.filter((folder) => !local.includes(folder)),
      context,
    );
    for (const folder of local) {
      if (context.signal.aborted) break;
      await this.#apart(tally, `folder ${folder.watched.dir}`, context, async () => await this.#look(folder, tally, context));
    }
    await within(beside, shareWaitMs);
    for (const found of this.#found.splice(0)) addTo(tally, found);
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

  /** Looks at folders on shares, each at its own pace: one that is still being looked at, or does not answer, is left out. */
  async #lookBeside(folders: readonly Folder[], context: TickContext): Promise<void> {
    const { access } = this.#deps.folders;
    const free = folders.filter((folder) => !this.#beside.has(folder) && access.answers(folder.dirs));
    await Promise.all(
      free.map(async (folder) => {
        const found = emptyTally();
        this.#beside.add(folder);
        await this.#apart(found, `folder ${folder.watched.dir}`, context, async () => await this.#look(folder, found, context));
        this.#beside.delete(folder);
        this.#found.push(found);
      }),
    );
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
    const { access } = this.#deps.folders;
    const answer = await this.#unlessGone(file, async () => await checkFile(file, intake, { access, freeBytesOf: freeBytes }));
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
          await this.#unlessGone(file, async () => await this.#staging.begin({ pipeline, label, path, fingerprint })),
          tally,
          context,
        );
        return;
      }
      case "reject":
        await this.#unlessGone(file, async () => await this.#reject(folder, file, answer, context));
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

  /** @throws {FileGoneError} The step found no such file, and there is none. */
  async #unlessGone<T>({ path }: FoundFile, step: () => Promise<T>): Promise<T> {
    try {
      return await step();
    } catch (cause) {
      if (hasCode(cause, "ENOENT") && (await this.#deps.folders.access.do(isGone, path, { paths: [path] })))
        throw new FileGoneError("the file is gone", { cause });
      throw cause;
    }
  }

  async #reject(
    { pipeline, intake }: Folder,
    file: FoundFile,
    { counter: code, reason }: Extract<IntakeAnswer, { readonly kind: "reject" }>,
    { emit }: TickContext,
  ): Promise<void> {
    const { folders, wall } = this.#deps;
    const at = new Date(wall()).toISOString();
    const errorDir = resolve(folders.baseDir, intake.errorDir);
    const text = { fileName: file.label, pipeline, code, reason, sizeBytes: file.sizeBytes, at };
    const rejection = {
      path: file.path,
      errorDir,
      name: safeFileName(file.label),
      reason: `${JSON.stringify(text, null, 2)}\n`,
      mode: modeForPeople(0o666),
    };
    await folders.access.do(rejectFile, rejection, { paths: [file.path, errorDir] });
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

/** Whether nothing is at the path. */
export const isGone: PathOperation<Buffer, boolean> = {
  name: "is-gone",
  run: async (path) => (await lstatOrUndefined(path)) === undefined,
};

function foldersOf(registry: PipelineRegistry, { baseDir, access }: ConfiguredFolders): readonly Folder[] {
  return registry.all().flatMap(({ definition: { name, intake } }) => {
    if (intake === undefined) return [];
    const { match, minStableMs } = intake;
    const dir = resolve(baseDir, intake.watch);
    const watched = new WatchedFolder({ dir, match, minStableMs, access });
    return [{ pipeline: name, intake, watched, dirs: [dir, resolve(baseDir, intake.errorDir)] }];
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

const emptyTally = (): Tally => ({
  seen: 0,
  settled: 0,
  failed: 0,
  handled: 0,
  bytes: 0,
  decided: false,
  nextInMs: undefined,
  would: [],
});

function addTo(tally: Tally, found: Tally): void {
  tally.seen += found.seen;
  tally.settled += found.settled;
  tally.failed += found.failed;
  tally.decided ||= found.decided;
  if (found.nextInMs !== undefined) tally.nextInMs = Math.min(tally.nextInMs ?? found.nextInMs, found.nextInMs);
  tally.would.push(...found.would);
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

/** What a process that runs the intake builds it of. */
export interface IntakeParts extends LoopParts, Pick<IntakeDeps, "store" | "registry">, Pick<ConfiguredFolders, "access"> {
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
  build: ({ store, registry, access, host, tell, chance, settings }) =>
    new IntakeLoop({
      store,
      registry,
      paths: host.paths,
      hostId: host.identity.hostId,
      folders: { baseDir: settings().baseDir, access },
      alert: tell.alert,
      newId: chance.newId,
      wall: () => host.clock.wall(),
    }),
};
