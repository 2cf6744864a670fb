import { messageOf } from "../../domain/errors.ts";
import type { JobId, RunId } from "../../domain/ids.ts";
import type { DurationMs } from "../../domain/time.ts";
import { type ProcessIdentity, sameProcess } from "../../processes/probe/identity.ts";
import { probeLifePipe } from "../../processes/run-folder/life-pipe.ts";
import { readCommand } from "../../processes/run-folder/run-files.ts";
import { stopTree } from "../../processes/stopping/stop-tree.ts";
import { findStrays, type RunTree } from "../../processes/stopping/strays.ts";
import type { Emit } from "../../telemetry/events.ts";

export interface StraysDeps {
  readonly emit: Emit;
  readonly clock: { mono(): number };
  readonly wallNow: () => number;
  readonly stopGraceMs: () => DurationMs;
  readonly killGraceMs: () => DurationMs;
}

/**
 * Stops what a run that ended by itself has left behind. `left`: something survived, or could not be looked at, so it is the stopper's and
 * the job has to wait for its proof. Never rejects.
 */
export async function stopStrays(
  deps: StraysDeps,
  run: {
    readonly ref: { readonly runId: RunId; readonly jobId: JobId; readonly queue: string };
    readonly runDir: string;
    readonly tree: RunTree;
    /** When the exit record was written, by the host's wall clock. */
    readonly writtenAtHostMs: number;
    readonly signal: AbortSignal;
  },
): Promise<{ readonly left: boolean; readonly command: ProcessIdentity | undefined }> {
  const { emit, clock, wallNow, stopGraceMs, killGraceMs } = deps;
  const { ref, runDir, signal } = run;
  let command: ProcessIdentity | undefined;
  try {
    command = await readCommand({ runDir, runId: ref.runId });
    const tree = command === undefined ? run.tree : { ...run.tree, command };
    // Both times are of this host's wall clock; the age only tells old processes from new ones.
    const strays = findStrays({ ...tree, endedAgoMs: Math.max(0, wallNow() - run.writtenAtHostMs) });
    if (strays.length === 0 && (await probeLifePipe(runDir)) !== "held") return { left: false, command };
    if (strays.length > 0) emit("run.strays_stopped", { ...ref, pids: strays.map((stray) => stray.pid) });
    // With the pipe, which the wrapper holds for the moment that it takes to end, and a stray that no scan finds for longer.
    const graces = { stopGraceMs: stopGraceMs(), killGraceMs: killGraceMs() };
    const result = await stopTree({ ...tree, seen: strays, runDir, clock, ...graces, signal });
    // Those that only the life pipe gave away.
    const hidden = (result.stopped ? result.proof.gone : result.survivors).filter(
      (each) => !strays.some((stray) => sameProcess(each, stray)),
    );
    if (hidden.length > 0) emit("run.strays_stopped", { ...ref, pids: hidden.map((each) => each.pid) });
    return { left: !result.stopped, command };
  } catch (thrown) {
    emit("loop.subject_failed", { loop: "worker", subject: `strays of run ${ref.runId}`, message: messageOf(thrown) });
    return { left: true, command };
  }
}
