import { messageOf } from "../../domain/errors.ts";
import type { JobId, RunId } from "../../domain/ids.ts";
import { type ProcessIdentity, sameProcess } from "../../processes/probe/identity.ts";
import { readExitRecord } from "../../processes/run-folder/exit-record.ts";
import { probeLifePipe } from "../../processes/run-folder/life-pipe.ts";
import { readCommand } from "../../processes/run-folder/run-files.ts";
import { stopTree } from "../../processes/stopping/stop-tree.ts";
import { findStrays, type RunTree } from "../../processes/stopping/strays.ts";
import { reportExit } from "../exit-report.ts";
import type { CommandRunDeps } from "./command-run-deps.ts";
import type { OwnedRun } from "./owned-run.ts";
import type { RunProcesses } from "./run-processes.ts";

/** How soon a step that the store refused is tried again. */
const againMs = 1000;

/**
 * The way of a command's run from its recorded exit to its settlement: strays are stopped, the gate is read, as often as it takes, and what
 * follows is settled. Left half-way (`signal`), it is taken up by the next supervisor.
 */
export class CommandEnd {
  readonly #deps: CommandRunDeps;
  readonly #run: OwnedRun;
  readonly #of: {
    readonly processes: RunProcesses;
    /** Aborted once the run is over for this supervisor. */
    readonly signal: AbortSignal;
    readonly onOver: () => void;
  };
  /** Something of the run outlived what we could do about it. */
  #leftStrays = false;
  #again: NodeJS.Timeout | undefined;

  constructor(
    deps: CommandRunDeps,
    run: OwnedRun,
    of: { readonly processes: RunProcesses; readonly signal: AbortSignal; readonly onOver: () => void },
  ) {
    this.#deps = deps;
    this.#run = run;
    this.#of = of;
    of.signal.addEventListener("abort", () => clearTimeout(this.#again), { once: true });
  }

  /** An exit that was just recorded, as `status`. Never rejects. */
  async begin({ status, writtenAtHostMs }: { readonly status: number; readonly writtenAtHostMs: number }): Promise<void> {
    await this.#stopStrays(writtenAtHostMs);
    await this.#finalise(status);
  }

  /** An exit that the previous supervisor recorded, as `status`: its strays may live still. Never rejects. */
  async carryOn(status: number | null): Promise<void> {
    const { runDir, runId } = this.#run;
    const record = await readExitRecord({ runDir, runId }).catch(() => undefined);
    await this.#stopStrays(record?.kind === "exit" ? record.writtenAtHostMs : this.#deps.host.clock.wall());
    await this.#finalise(status);
  }

  async #stopStrays(writtenAtHostMs: number): Promise<void> {
    const { processes, signal } = this.#of;
    const { ref, runDir, stage } = this.#run;
    if (stage.strays === "leave") return;
    const stopped = await stopStrays(this.#deps, { ref, runDir, tree: processes.tree(), writtenAtHostMs, signal });
    processes.command = stopped.command ?? processes.command;
    this.#leftStrays = stopped.left;
  }

  async #finalise(status: number | null): Promise<void> {
    const { emit, backend } = this.#deps;
    const { processes, signal, onOver } = this.#of;
    const run = this.#run;
    try {
      if (signal.aborted) return;
      const evidence = { exitRecord: status, command: processes.command?.pid ?? null };
      const exited = { ...run.identity, exitCode: status, straysLeft: this.#leftStrays, evidence };
      const again = await reportExit(this.#deps, run.workerId, exited, signal);
      // Left over it: the gate was not read, and nothing follows from that.
      if (isAborted(signal)) return;
      if (again === undefined) onOver();
      else this.#finaliseIn(again - backend.now(), status);
    } catch (thrown) {
      // Recorded as exited, so nothing is lost: tried again soon, and by the job-reaper past its grace.
      emit("loop.subject_failed", { loop: "worker", subject: `run ${run.runId}`, message: messageOf(thrown) });
      this.#finaliseIn(againMs, status);
    }
  }

  #finaliseIn(ms: number, status: number | null): void {
    if (this.#of.signal.aborted) return;
    this.#again = setTimeout(() => void this.#finalise(status), Math.max(0, ms)).unref();
  }
}

/** Read anew: while something was awaited it may have been aborted, which the types do not know. */
const isAborted = (signal: AbortSignal): boolean => signal.aborted;

/**
 * Stops what a run that ended by itself has left behind. `left`: something survived, or could not be looked at, so it is the stopper's and
 * the job has to wait for its proof. Never rejects.
 */
async function stopStrays(
  { emit, host: { clock }, stop }: Pick<CommandRunDeps, "emit" | "host" | "stop">,
  run: {
    readonly ref: { readonly runId: RunId; readonly jobId: JobId; readonly queue: string };
    readonly runDir: string;
    readonly tree: RunTree;
    /** When the exit record was written, by the host's wall clock. */
    readonly writtenAtHostMs: number;
    readonly signal: AbortSignal;
  },
): Promise<{ readonly left: boolean; readonly command: ProcessIdentity | undefined }> {
  const { ref, runDir, signal } = run;
  let command: ProcessIdentity | undefined;
  try {
    command = await readCommand({ runDir, runId: ref.runId });
    const tree = command === undefined ? run.tree : { ...run.tree, command };
    // Both times are of this host's wall clock; the age only tells old processes from new ones.
    const strays = findStrays({ ...tree, endedAgoMs: Math.max(0, clock.wall() - run.writtenAtHostMs) });
    if (strays.length === 0 && (await probeLifePipe(runDir)) !== "held") return { left: false, command };
    if (strays.length > 0) emit("run.strays_stopped", { ...ref, pids: strays.map((stray) => stray.pid) });
    // With the pipe, which the wrapper holds for the moment that it takes to end, and a stray that no scan finds for longer.
    const result = await stopTree({ ...tree, seen: strays, runDir, clock, ...stop, signal });
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
