import { join } from "node:path";
import type { LoopSettings, LoopSwitch } from "../../config/loop-settings.ts";
import { messageOf } from "../../domain/errors.ts";
import type { HostId, RunId } from "../../domain/ids.ts";
import { type DurationMs, days, hours, type Instant, minutes, seconds } from "../../domain/time.ts";
import { type DataPaths, runDirOf } from "../../files/data-paths.ts";
import { lstatOrUndefined } from "../../files/move-file.ts";
import { holdsUnkeptSource, type SourceKeeper } from "../../item-files/kept-source.ts";
import type { RaiseAlert, Tell } from "../../notify/raise-alert.ts";
import type { Host } from "../../processes/probe/host.ts";
import { probeLifePipe } from "../../processes/run-folder/life-pipe.ts";
import { runFiles, runIdOfDirectory } from "../../processes/run-folder/run-files.ts";
import type { ItemRow } from "../../store/port/items.ts";
import type { Store } from "../../store/port/store.ts";
import type { PruneWalk } from "../../store/port/upkeep.ts";
import type { Loop, TickContext, TickReport } from "../skeleton/loop.ts";
import type { LoopReports } from "../skeleton/loop-reports.ts";
import { type LoopParts, type LoopSpec, ownSwitch } from "../skeleton/loop-spec.ts";
import { FolderWalk, type FoundFolder, removeFolder } from "./retention-folders.ts";

export interface RetentionPolicy {
  /** Age at which rows of finished items and jobs are removed. Never before their work directories. */
  readonly finishedRowsMs: DurationMs;
  /** Age at which folders of ended runs (their logs) are removed. */
  readonly logsMs: DurationMs;
  /** Age, since its decision was carried out, at which the row of a held duplicate is removed. */
  readonly duplicatesMs: DurationMs;
  /** Age at which work directories of finished items are removed, in days (`KEEP_WORK_DIR_DAYS`); 0: as soon as they are finished. */
  readonly workDirsDays: number;
}

export interface RetentionDeps {
  readonly store: Pick<Store, "items" | "jobs" | "runs" | "upkeep" | "duplicates">;
  readonly hostId: HostId;
  readonly paths: DataPaths;
  /** Returns sources that a work directory still holds to their owners, before it is removed. */
  readonly sources: Pick<SourceKeeper, "keep">;
  readonly alert: RaiseAlert;
  /** Read at each tick. */
  readonly policy: () => RetentionPolicy;
  /** Wall time, epoch milliseconds, as in the file system's timestamps. */
  readonly wall: () => number;
  /** Most rows removed by one statement. Default 500. */
  readonly pageSize?: number | undefined;
  /** Most statements of one tick. Default 20. */
  readonly pagesMax?: number | undefined;
  /** Most folders of each kind examined in one tick. Default 500. */
  readonly foldersMax?: number | undefined;
}

const dayMs = days(1);
/** A younger folder without a row is no orphan yet: its row, or its item, may just be in the making. */
const orphanAgeMs = hours(1);
/** The wait after a tick that left work over. */
const soonMs: DurationMs = seconds(1);
/** The wait between ticks while no work directory is kept. */
const keptNotAtAllMs: DurationMs = minutes(1);

/**
 * Removes what has been finished for long enough: work directories, then rows, then run folders, also those without a row. Skips anything
 * unfinished, held, blocked, adopted or undecided, names with a first `_`, links, and directories with an unreturned source.
 */
export class Retention implements Loop<"retention"> {
  readonly name = "retention";
  readonly #deps: RetentionDeps;
  readonly #pageSize: number;
  readonly #pagesMax: number;
  readonly #foldersMax: number;
  readonly #workWalk: FolderWalk;
  readonly #runWalk: FolderWalk;
  /** Where the walk over old jobs goes on at the next tick, so that it does not look again at what stays. */
  #jobWalk: PruneWalk | undefined;
  readonly #counts = { jobs: 0, items: 0, runs: 0, work_dirs: 0, run_dirs: 0, duplicates: 0 };
  readonly #told = new Set<string>();

  constructor(deps: RetentionDeps) {
    const { paths, pageSize = 500, pagesMax = 20, foldersMax = 500 } = deps;
    this.#deps = deps;
    this.#pageSize = pageSize;
    this.#pagesMax = pagesMax;
    this.#foldersMax = foldersMax;
    this.#workWalk = new FolderWalk(paths.workDir);
    this.#runWalk = new FolderWalk(paths.runsDir);
  }

  details(): LoopReports["retention"] {
    return { ...this.#counts };
  }

  async tick(context: TickContext): Promise<TickReport> {
    const { workDir, runsDir } = this.#deps.paths;
    const tally = newTally();
    await this.#walkFolders(
      { walk: this.#workWalk, root: workDir, mayGo: (folder) => this.#judgeWorkDir(folder, context) },
      tally,
      context,
    );
    if (!context.dryRun) {
      await this.#pruneRows(tally, context);
      await this.#pruneDuplicates(tally, context);
    }
    await this.#walkFolders({ walk: this.#runWalk, root: runsDir, mayGo: (folder) => this.#judgeRunDir(folder, context) }, tally, context);
    const { jobs, items, runs, workDirs, runDirs, duplicates } = tally;
    this.#count(tally);
    if (jobs + items + runs + duplicates > 0) context.emit("retention.pruned", { jobs, items, runs, duplicates });
    return {
      seen: tally.seen,
      settled: jobs + items + runs + workDirs + runDirs + duplicates,
      lost: 0,
      failed: tally.failed,
      nextInMs: tally.more ? soonMs : this.#deps.policy().workDirsDays === 0 ? keptNotAtAllMs : undefined,
      would: context.dryRun ? tally.would : undefined,
    };
  }

  #count({ jobs, items, runs, workDirs, runDirs, duplicates }: Tally): void {
    const counts = this.#counts;
    counts.jobs += jobs;
    counts.items += items;
    counts.runs += runs;
    counts.work_dirs += workDirs;
    counts.run_dirs += runDirs;
    counts.duplicates += duplicates;
  }

  async #pruneRows(tally: Tally, context: TickContext): Promise<void> {
    const { now, signal } = context;
    const { store, hostId, paths, policy } = this.#deps;
    const { finishedRowsMs, workDirsDays } = policy();
    // A row may not go before the directory whose owner it names.
    const finishedBefore = (now - Math.max(finishedRowsMs, workDirsDays * dayMs)) as Instant;
    let walk = this.#jobWalk;
    for (let page = 0; page < this.#pagesMax && !signal.aborted; page++) {
      const pruned = await store.upkeep.prune({ hostId, finishedBefore, limit: this.#pageSize, walk });
      walk = pruned.walk;
      // The tick after the end of a walk begins the next one.
      this.#jobWalk = walk === "over" ? undefined : walk;
      tally.jobs += pruned.jobs;
      tally.items += pruned.items.length;
      tally.runs += pruned.runs.length;
      // A crash from here on leaves folders without rows, which the walks find as orphans.
      for (const { dir } of pruned.items) {
        await this.#apart(join(paths.workDir, dir), tally, context, async () => {
          if (await mayGo(paths.workDir, dir)) await this.#remove(tally, { root: paths.workDir, name: dir });
        });
      }
      for (const runId of pruned.runs) {
        const path = runDirOf(paths, runId as RunId);
        await this.#apart(path, tally, context, async () => {
          if (await isReleased(path)) await this.#remove(tally, { root: paths.runsDir, name: String(runId) });
        });
      }
      if (!pruned.more) return;
    }
    tally.more = true;
  }

  /** One statement, because people decide about duplicates, so there are few. */
  async #pruneDuplicates(tally: Tally, { now }: TickContext): Promise<void> {
    const doneBefore = (now - this.#deps.policy().duplicatesMs) as Instant;
    const removed = await this.#deps.store.duplicates.removeDone({ doneBefore, limit: this.#pageSize });
    tally.duplicates += removed;
    if (removed >= this.#pageSize) tally.more = true;
  }

  async #remove(tally: Tally, folder: { readonly root: string; readonly name: string }): Promise<void> {
    if (!(await removeFolder(folder))) return;
    if (folder.root === this.#deps.paths.workDir) tally.workDirs += 1;
    else tally.runDirs += 1;
  }

  async #judgeWorkDir(folder: FoundFolder, { now, dryRun }: TickContext): Promise<boolean> {
    const { store, sources } = this.#deps;
    if (folder.name.startsWith("_")) return false;
    const keepMs = this.#deps.policy().workDirsDays * dayMs;
    const item = await this.#itemOf(folder.name);
    if (item === undefined) return await this.#isOrphanedWork(folder, { keepMs, dryRun });
    if (item.finishedAt === null || now - item.finishedAt < keepMs) return false;
    const jobs = await store.items.jobs(item.id);
    if (jobs.some((job) => job.finishedAt === null || job.blockedBy !== null)) return false;
    if (dryRun) return true;
    if (!(await sources.keep(item))) {
      await this.#tell(
        `retention.source:${item.id}`,
        `The work directory ${folder.path} is kept: the pipeline ${item.pipeline} has no folder any more for its source file`,
      );
      return false;
    }
    // Checked again: returning the source took time, and somebody may have run the item again.
    return (await store.items.get(item.id))?.finishedAt === item.finishedAt;
  }

  async #isOrphanedWork(
    folder: FoundFolder,
    { keepMs, dryRun }: { readonly keepMs: DurationMs; readonly dryRun: boolean },
  ): Promise<boolean> {
    if (this.#deps.wall() - folder.mtimeMs < Math.max(keepMs, orphanAgeMs)) return false;
    if (!(await holdsUnkeptSource(folder.path))) return true;
    if (!dryRun)
      await this.#tell(
        `retention.orphan:${folder.name}`,
        `The work directory ${folder.path} belongs to no item and holds an input file: look at it, and remove it by hand`,
      );
    return false;
  }

  /** The item of a work directory, by its two possible names: its key, or its key and pipeline. */
  async #itemOf(dir: string): Promise<ItemRow | undefined> {
    for (const { pipeline } of await this.#deps.store.items.listPipelines()) {
      const ending = `~${pipeline}`;
      const keys = dir.endsWith(ending) ? [dir.slice(0, -ending.length), dir] : [dir];
      for (const key of keys) {
        const item = await this.#deps.store.items.byKey(pipeline, key);
        if (item?.dir === dir) return item;
      }
    }
    return undefined;
  }

  async #judgeRunDir(folder: FoundFolder, { now }: TickContext): Promise<boolean> {
    const { store, wall } = this.#deps;
    const runId = runIdOfDirectory(folder.name);
    const { logsMs } = this.#deps.policy();
    if (runId === undefined || wall() - folder.mtimeMs < Math.min(logsMs, orphanAgeMs)) return false;
    const run = await store.runs.get(runId);
    if (run === undefined) return wall() - folder.mtimeMs >= orphanAgeMs && (await isReleased(folder.path));
    if (run.endedAt === null || now - run.endedAt < logsMs) return false;
    const job = await store.jobs.get(run.jobId);
    if (job !== undefined && (job.finishedAt === null || job.blockedBy !== null)) return false;
    // The logs of an unfinished item's earlier stages explain how it got there.
    if (job?.itemId !== undefined && job.itemId !== null && (await store.items.get(job.itemId))?.finishedAt === null) return false;
    return await isReleased(folder.path);
  }

  async #tell(cause: string, title: string): Promise<void> {
    if (this.#told.has(cause)) return;
    if (await this.#deps.alert({ cause, title, details: {} })) this.#told.add(cause);
  }

  async #walkFolders(
    kind: {
      readonly walk: FolderWalk;
      readonly root: string;
      readonly mayGo: (folder: FoundFolder) => Promise<boolean>;
    },
    tally: Tally,
    context: TickContext,
  ): Promise<void> {
    const { folders, more } = await kind.walk.next(this.#foldersMax);
    if (more) tally.more = true;
    for (const folder of folders) {
      if (context.signal.aborted) return;
      tally.seen += 1;
      await this.#apart(folder.path, tally, context, async () => {
        if (!(await kind.mayGo(folder))) return;
        if (context.dryRun) tally.would.push(`remove ${folder.path}`);
        else await this.#remove(tally, { root: kind.root, name: folder.name });
      });
    }
  }

  /** One folder that cannot be removed keeps no other. It is an orphan from then on, and is tried again with each round. */
  async #apart(path: string, tally: Tally, { emit }: TickContext, step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (thrown) {
      tally.failed += 1;
      emit("loop.subject_failed", { loop: "retention", subject: path, message: messageOf(thrown) });
    }
  }
}

/** Whether a work directory without a row may be removed. */
async function mayGo(root: string, dir: string): Promise<boolean> {
  return !dir.startsWith("_") && !dir.includes("/") && !(await holdsUnkeptSource(`${root}/${dir}`));
}

/** Whether nothing of the run lives: its pipe is released, or it never had one. */
async function isReleased(runDir: string): Promise<boolean> {
  const state = await probeLifePipe(runDir);
  return state === "released" || (state === "unknown" && (await lstatOrUndefined(runFiles(runDir).lifePipe)) === undefined);
}

interface Tally {
  seen: number;
  failed: number;
  jobs: number;
  items: number;
  runs: number;
  workDirs: number;
  runDirs: number;
  duplicates: number;
  more: boolean;
  readonly would: string[];
}

const newTally = (): Tally => ({
  seen: 0,
  failed: 0,
  jobs: 0,
  items: 0,
  runs: 0,
  workDirs: 0,
  runDirs: 0,
  duplicates: 0,
  more: false,
  would: [],
});

/** What a process that runs the retention builds it of. */
export interface RetentionParts extends LoopParts, Pick<RetentionDeps, "store" | "sources"> {
  readonly host: Pick<Host, "identity" | "paths" | "clock">;
  readonly tell: Tell;
  readonly settings: () => LoopSwitch<"retention"> & Pick<LoopSettings, "retention">;
}

export const retentionSpec: LoopSpec<"retention", RetentionParts> = {
  name: "retention",
  kind: "guarded",
  intervalMs: () => hours(1),
  enabled: ownSwitch("retention"),
  wokenBy: [],
  build: ({ store, sources, host, tell, settings }) => {
    const { identity, paths, clock } = host;
    return new Retention({
      store,
      hostId: identity.hostId,
      paths,
      sources,
      alert: tell.alert,
      policy: () => settings().retention,
      wall: () => clock.wall(),
    });
  },
};
