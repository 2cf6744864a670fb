import { readdir } from "node:fs/promises";
import { messageOf } from "../domain/errors.ts";
import type { RunId } from "../domain/ids.ts";
import type { DurationMs } from "../domain/time.ts";
import { type DataPaths, runDirOf } from "../files/data-paths.ts";
import type { HostIdentity, ProcessIdentity } from "../processes/probe/identity.ts";
import type { ProcessTable } from "../processes/probe/process-table.ts";
import { readExitRecord } from "../processes/run-folder/exit-record.ts";
import { probeLifePipe } from "../processes/run-folder/life-pipe.ts";
import { runIdOfDirectory } from "../processes/run-folder/run-files.ts";
import type { Store } from "../store/port/store.ts";
import type { Emit } from "../telemetry/events.ts";
import { stopRun } from "./ended-runs.ts";

export interface UnknownRunsDeps {
  readonly store: { readonly runs: Pick<Store["runs"], "get" | "isFollowed"> };
  readonly host: HostIdentity;
  readonly table: ProcessTable;
  readonly paths: DataPaths;
  readonly clock: { mono(): number };
  readonly shielded: () => readonly ProcessIdentity[];
  readonly stopGraceMs: DurationMs;
  readonly killGraceMs: DurationMs;
  readonly emit: Emit;
}

/**
 * Stops runs that live by `runs/` but are unknown to the store: newer than a restored store. Spares processes that an ended run may leave
 * (`strays: leave`) and that outlived its row. Answers how many were stopped.
 */
export async function stopUnknownRuns(deps: UnknownRunsDeps): Promise<number> {
  const names = await readdir(deps.paths.runsDir);
  const found = names.map(runIdOfDirectory).filter((id): id is RunId => id !== undefined);
  const unknown: RunId[] = [];
  for (const runId of found) {
    // Cheap and sure for the thousands of folders of ended runs: nothing holds their pipes.
    if ((await probeLifePipe(runDirOf(deps.paths, runId))) !== "held" || (await deps.store.runs.get(runId)) !== undefined) continue;
    if (!(await wasForgotten(runId, deps))) unknown.push(runId);
  }
  // All at once: each may take its whole grace, and nothing is claimed before.
  return (await Promise.all(unknown.map((runId) => stopOne(runId, deps)))).filter(Boolean).length;
}

/** Ended, settled, and its row removed by retention: no backup is older than it. */
async function wasForgotten(runId: RunId, { paths, store }: UnknownRunsDeps): Promise<boolean> {
  const record = await readExitRecord({ runDir: runDirOf(paths, runId), runId });
  return record.kind === "exit" && (await store.runs.isFollowed(runId));
}

async function stopOne(runId: RunId, deps: UnknownRunsDeps): Promise<boolean> {
  const { host: identity, table, paths, clock, stopGraceMs, killGraceMs, shielded, emit } = deps;
  const failed = (message: string): false => {
    emit("loop.subject_failed", { loop: "adoption", subject: `run ${runId}`, message });
    return false;
  };
  try {
    const { stopped } = await stopRun({ host: { identity, table, paths, clock }, stop: { stopGraceMs, killGraceMs }, shielded }, { runId });
    return stopped || failed("it is unknown to the store and survives KILL");
  } catch (thrown) {
    return failed(messageOf(thrown));
  }
}
