import { messageOf } from "../domain/errors.ts";
import type { RunId } from "../domain/ids.ts";
import { runTaskName } from "../domain/run-task.ts";
import type { StopGraces } from "../domain/stop-within.ts";
import { runDirOf } from "../files/data-paths.ts";
import type { PipelineRegistry } from "../pipelines/registry.ts";
import type { Host } from "../processes/probe/host.ts";
import { commandOnRecord, type ProcessIdentity } from "../processes/probe/identity.ts";
import { readExitRecord } from "../processes/run-folder/exit-record.ts";
import { readCommand, readStarted } from "../processes/run-folder/run-files.ts";
import { markerVariable, parseMarker } from "../processes/run-folder/run-marker.ts";
import { type StopResult, stopTree } from "../processes/stopping/stop-tree.ts";
import type { RunRow } from "../store/port/runs.ts";
import type { Store } from "../store/port/store.ts";
import type { Emit } from "../telemetry/events.ts";

export interface EndedRunsDeps {
  readonly store: { readonly runs: Pick<Store["runs"], "get">; readonly jobs: Pick<Store["jobs"], "get"> };
  readonly registry: Pick<PipelineRegistry, "stageOfQueue">;
  readonly host: Pick<Host, "identity" | "table" | "paths"> & { readonly clock: Pick<Host["clock"], "mono"> };
  readonly stop: StopGraces;
  /** Sessions of this host, which are never signalled, nor are their descendants. */
  readonly shielded: () => readonly ProcessIdentity[];
  readonly emit: Emit;
}

/**
 * Stops what lives of commands whose run has ended without them, as after a seizure while this host stood still. What bears another host's
 * mark, or belongs to a run that lives or is being stopped, is left alone.
 */
export class EndedRuns {
  readonly #deps: EndedRunsDeps;
  readonly #stopping = new Map<RunId, Promise<boolean>>();

  constructor(deps: EndedRunsDeps) {
    this.#deps = deps;
  }

  /** Looks at every process with this host's mark. Answers of how many runs something was stopped. Never rejects. */
  async stopAll(): Promise<number> {
    const { host } = this.#deps;
    const marked = new Set<RunId>();
    for (const { pid } of host.table.list()) {
      const marker = parseMarker(host.table.environmentValue(pid, markerVariable));
      if (marker?.hostId === host.identity.hostId) marked.add(marker.runId);
    }
    // All at once: each may take its whole grace.
    const stopped = await Promise.all([...marked].map(async (runId) => await this.stop(runId)));
    return stopped.filter(Boolean).length;
  }

  /** True: the run has ended, and something of it was stopped. Never rejects. */
  async stop(runId: RunId): Promise<boolean> {
    const stopping = this.#stopping.get(runId) ?? this.#stop(runId).finally(() => this.#stopping.delete(runId));
    this.#stopping.set(runId, stopping);
    return await stopping;
  }

  async #stop(runId: RunId): Promise<boolean> {
    const { store, emit } = this.#deps;
    const failed = (message: string): false => {
      emit("loop.subject_failed", { loop: "stopper", subject: `ended run ${runId}`, message });
      return false;
    };
    try {
      const run = await store.runs.get(runId);
      const job = run === undefined ? undefined : await store.jobs.get(run.jobId);
      if (run === undefined || job === undefined || !(await this.#mustStop(run, job))) return false;
      const result = await stopRun(this.#deps, { runId, command: commandOnRecord(run), wrapper: run.wrapper ?? undefined });
      if (!result.stopped) return failed(`it has ended, and something of it survives: ${result.remains}`);
      const pids = result.proof.gone.map(({ pid }) => pid);
      if (pids.length > 0) emit("run.strays_stopped", { runId, jobId: run.jobId, queue: job.queue, pids });
      return pids.length > 0;
    } catch (thrown) {
      return failed(messageOf(thrown));
    }
  }

  async #mustStop(run: RunRow, { queue, blockedBy }: { readonly queue: string; readonly blockedBy: RunId | null }): Promise<boolean> {
    // A person's own command goes on without its run, and what is being stopped needs no second hand.
    if (run.state !== "ended" || run.kind !== "command" || queue === runTaskName || blockedBy === run.id) return false;
    const { host, registry } = this.#deps;
    const record = await readExitRecord({ runDir: runDirOf(host.paths, run.id), runId: run.id });
    if (run.exitCode === null && record.kind !== "exit") return true;
    // Its command has ended by itself. What that left behind may live on where its stage says so, or nobody knows what it says.
    const strays = registry.stageOfQueue(queue)?.stage.strays;
    return strays !== undefined && strays !== "leave";
  }
}

/** Stops what lives of one run. Its records on disk are the newest; what the store has of it stands in for one that is missing. */
export async function stopRun(
  { host, stop, shielded }: Pick<EndedRunsDeps, "host" | "stop" | "shielded">,
  run: { readonly runId: RunId; readonly command?: ProcessIdentity | undefined; readonly wrapper?: ProcessIdentity | undefined },
): Promise<StopResult> {
  const { identity, table, paths, clock } = host;
  const { runId } = run;
  const runDir = runDirOf(paths, runId);
  const command = (await readCommand({ runDir, runId })) ?? run.command;
  const wrapper = run.wrapper ?? (await readStarted({ runDir, runId }));
  return await stopTree({ runId, host: identity, table, command, wrapper, shielded: shielded() }, { runDir, clock, ...stop });
}
