import type { LoopSettings, LoopSwitch } from "../../config/loop-settings.ts";
import { messageOf } from "../../domain/errors.ts";
import type { RunId } from "../../domain/ids.ts";
import { type DurationMs, hours, type Instant, minutes } from "../../domain/time.ts";
import type { DataPaths } from "../../files/data-paths.ts";
import { lstatOrUndefined } from "../../files/move-file.ts";
import { holdsUnkeptSource, SourceKeeper } from "../../item-files/kept-source.ts";
import type { RaiseAlert, Tell } from "../../notify/raise-alert.ts";
import type { PipelineRegistry } from "../../pipelines/registry.ts";
import type { Host } from "../../processes/probe/host.ts";
import { probeLifePipe } from "../../processes/run-folder/life-pipe.ts";
import { runFiles, runIdOfDirectory } from "../../processes/run-folder/run-files.ts";
import type { ItemRow } from "../../store/port/items.ts";
import type { Store } from "../../store/port/store.ts";
import type { Loop, TickContext, TickReport } from "../skeleton/loop.ts";
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
  readonly paths: DataPaths;
  /** Gives sources back that a work directory still holds, before it is removed. */
  readonly sources: Pick<SourceKeeper, "keep">;
  readonly alert: RaiseAlert;
  /** Read at each tick. */
  readonly policy: () => RetentionPolicy;
  /** Wall time, epoch milliseconds: what the file system stamps its folders with. */
  readonly wall: () => number;
  /** Rows removed by one statement. Default 500. */
  readonly pageSize?: number;
  /** Statements of one tick. Default 20. */
  readonly pagesMax?: number;
  /** Folders looked at in one tick, of each kind. Default 500. */
  readonly foldersMax?: number;
}

const dayMs = hours(24);
/** A folder without a row is not believed to be an orphan before this: its row, or its item, may just be in the making. */
const orphanAgeMs = hours(1);
/** How soon a tick that left work over is followed by the next. */
const soonMs: DurationMs = 1_000;
/** How often a policy that keeps no work directory is carried out. */
const keptNotAtAllMs: DurationMs = minutes(1);

/**
 * Removes what has been finished for long enough: work directories first, then rows, then folders of runs, also those whose row is gone.
 * Never anything unfinished, held, blocked, adopted or undecided, never a name that begins with `_`, never through a link, and never a work
 * directory with a source file that its owner was not given back.
 */
export function createRetentionLoop(deps: RetentionDeps): Loop<"retention"> {
  const { store, paths, sources, wall, pageSize = 500, pagesMax = 20, foldersMax = 500 } = deps;
  const workWalk = new FolderWalk(paths.workDir);
  const runWalk = new FolderWalk(paths.runsDir);
  const counts = { jobs: 0, items: 0, runs: 0, work_dirs: 0, run_dirs: 0, duplicates: 0 };
  const told = new Set<string>();

  const pruneRows = async (tally: Tally, { now, signal }: TickContext): Promise<void> => {
    const { finishedRowsMs, workDirsDays } = deps.policy();
    // A row may not go before the directory that it says belongs to somebody.
    const finishedBefore = (now - Math.max(finishedRowsMs, workDirsDays * dayMs)) as Instant;
    for (let page = 0; page < pagesMax && !signal.aborted; page++) {
      const pruned = await store.upkeep.prune({ finishedBefore, limit: pageSize });
      tally.jobs += pruned.jobs;
      tally.items += pruned.items.length;
      tally.runs += pruned.runs.length;
      // A crash from here on leaves folders without rows, which the walks below find as orphans.
      for (const { dir } of pruned.items) if (await mayGo(paths.workDir, dir)) await remove(tally, { root: paths.workDir, name: dir });
      for (const runId of pruned.runs) {
        if (await isReleased(runDirOf(runId as RunId))) await remove(tally, { root: paths.runsDir, name: String(runId) });
      }
      if (!pruned.more) return;
    }
    tally.more = true;
  };

  /** One statement: people decide about duplicates, so that they are few. */
  const pruneDuplicates = async (tally: Tally, { now }: TickContext): Promise<void> => {
    const removed = await store.duplicates.removeDone({ doneBefore: (now - deps.policy().duplicatesMs) as Instant, limit: pageSize });
    tally.duplicates += removed;
    if (removed >= pageSize) tally.more = true;
  };

  const mayGo = async (root: string, dir: string): Promise<boolean> =>
    !dir.startsWith("_") && !dir.includes("/") && !(await holdsUnkeptSource(`${root}/${dir}`));
  const runDirOf = (runId: RunId): string => `${paths.runsDir}/${runId}`;

  const remove = async (tally: Tally, folder: { readonly root: string; readonly name: string }): Promise<void> => {
    if (!(await removeFolder(folder))) return;
    if (folder.root === paths.workDir) tally.workDirs += 1;
    else tally.runDirs += 1;
  };

  const judgeWorkDir = async (folder: FoundFolder, { now, dryRun }: TickContext): Promise<boolean> => {
    if (folder.name.startsWith("_")) return false;
    const keepMs = deps.policy().workDirsDays * dayMs;
    const item = await itemOf(folder.name);
    if (item === undefined) return await isOrphanedWork(folder, { keepMs, dryRun });
    if (item.finishedAt === null || now - item.finishedAt < keepMs) return false;
    const jobs = await store.items.jobs(item.id);
    if (jobs.some((job) => job.finishedAt === null || job.blockedBy !== null)) return false;
    if (dryRun) return true;
    if (!(await sources.keep(item))) {
      await tell(
        `retention.source:${item.id}`,
        `The work directory ${folder.path} is kept: the pipeline ${item.pipeline} has no folder any more for its source file`,
      );
      return false;
    }
    // Once more, because giving the source back took time and somebody may have run the item again.
    return (await store.items.get(item.id))?.finishedAt === item.finishedAt;
  };

  const isOrphanedWork = async (
    folder: FoundFolder,
    { keepMs, dryRun }: { readonly keepMs: DurationMs; readonly dryRun: boolean },
  ): Promise<boolean> => {
    if (wall() - folder.mtimeMs < Math.max(keepMs, orphanAgeMs)) return false;
    if (!(await holdsUnkeptSource(folder.path))) return true;
    if (!dryRun)
      await tell(
        `retention.orphan:${folder.name}`,
        `The work directory ${folder.path} belongs to no item and holds an input file: look at it, and remove it by hand`,
      );
    return false;
  };

  /** The item of a work directory, by the two names that it may have: its key, or its key and its pipeline. */
  const itemOf = async (dir: string): Promise<ItemRow | undefined> => {
    for (const { pipeline } of await store.items.listPipelines()) {
      const ending = `~${pipeline}`;
      const keys = dir.endsWith(ending) ? [dir.slice(0, -ending.length), dir] : [dir];
      for (const key of keys) {
        const item = await store.items.byKey(pipeline, key);
        if (item?.dir === dir) return item;
      }
    }
    return undefined;
  };

  const judgeRunDir = async (folder: FoundFolder, { now }: TickContext): Promise<boolean> => {
    const runId = runIdOfDirectory(folder.name);
    const { logsMs } = deps.policy();
    if (runId === undefined || wall() - folder.mtimeMs < Math.min(logsMs, orphanAgeMs)) return false;
    const run = await store.runs.get(runId);
    if (run === undefined) return wall() - folder.mtimeMs >= orphanAgeMs && (await isReleased(folder.path));
    if (run.endedAt === null || now - run.endedAt < logsMs) return false;
    const job = await store.jobs.get(run.jobId);
    if (job !== undefined && (job.finishedAt === null || job.blockedBy !== null)) return false;
    // The logs of an unfinished item's earlier stages explain how it came where it is.
    if (job?.itemId !== undefined && job.itemId !== null && (await store.items.get(job.itemId))?.finishedAt === null) return false;
    return await isReleased(folder.path);
  };

  /** Nothing of the run lives: its pipe is released, or it never had one. */
  const isReleased = async (runDir: string): Promise<boolean> => {
    const state = await probeLifePipe(runDir);
    return state === "released" || (state === "unknown" && (await lstatOrUndefined(runFiles(runDir).lifePipe)) === undefined);
  };

  const tell = async (cause: string, title: string): Promise<void> => {
    if (told.has(cause)) return;
    if (await deps.alert({ cause, title, details: {} })) told.add(cause);
  };

  const walkFolders = async (
    kind: {
      readonly walk: FolderWalk;
      readonly root: string;
      readonly judge: (folder: FoundFolder, context: TickContext) => Promise<boolean>;
    },
    tally: Tally,
    context: TickContext,
  ): Promise<void> => {
    const { folders, more } = await kind.walk.next(foldersMax);
    if (more) tally.more = true;
    for (const folder of folders) {
      if (context.signal.aborted) return;
      tally.seen += 1;
      try {
        if (!(await kind.judge(folder, context))) continue;
        if (context.dryRun) tally.would.push(`remove ${folder.path}`);
        else await remove(tally, { root: kind.root, name: folder.name });
      } catch (thrown) {
        tally.failed += 1;
        context.emit("loop.subject_failed", { loop: "retention", subject: folder.path, message: messageOf(thrown) });
      }
    }
  };

  return {
    name: "retention",
    details: () => ({ ...counts }),
    tick: async (context): Promise<TickReport> => {
      const tally: Tally = {
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
      };
      await walkFolders({ walk: workWalk, root: paths.workDir, judge: judgeWorkDir }, tally, context);
      if (!context.dryRun) {
        await pruneRows(tally, context);
        await pruneDuplicates(tally, context);
      }
      await walkFolders({ walk: runWalk, root: paths.runsDir, judge: judgeRunDir }, tally, context);
      const { jobs, items, runs, workDirs, runDirs, duplicates } = tally;
      counts.jobs += jobs;
      counts.items += items;
      counts.runs += runs;
      counts.work_dirs += workDirs;
      counts.run_dirs += runDirs;
      counts.duplicates += duplicates;
      if (jobs + items + runs + duplicates > 0) context.emit("retention.pruned", { jobs, items, runs, duplicates });
      const settled = jobs + items + runs + workDirs + runDirs + duplicates;
      return {
        seen: tally.seen,
        settled,
        lost: 0,
        failed: tally.failed,
        ...(tally.more ? { nextInMs: soonMs } : deps.policy().workDirsDays === 0 ? { nextInMs: keptNotAtAllMs } : {}),
        ...(context.dryRun ? { would: tally.would } : {}),
      };
    },
  };
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

/** What a process that runs the retention builds it of. */
export interface RetentionParts extends LoopParts, Pick<RetentionDeps, "store"> {
  readonly registry: PipelineRegistry;
  readonly host: Pick<Host, "paths" | "clock">;
  readonly tell: Tell;
  readonly settings: () => LoopSwitch<"retention"> & Pick<LoopSettings, "retention" | "baseDir">;
}

export const retentionSpec: LoopSpec<"retention", RetentionParts> = {
  name: "retention",
  kind: "guarded",
  intervalMs: () => hours(1),
  enabled: ownSwitch("retention"),
  wokenBy: [],
  build: ({ store, registry, host, tell, settings }) => {
    const { paths, clock } = host;
    return createRetentionLoop({
      store,
      paths,
      sources: new SourceKeeper({ registry, workDir: paths.workDir, baseDir: settings().baseDir }),
      alert: tell.alert,
      policy: () => settings().retention,
      wall: () => clock.wall(),
    });
  },
};
