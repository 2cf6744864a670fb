import { messageOf } from "../../domain/errors.ts";
import type { JobId, RunId } from "../../domain/ids.ts";
import type { UnstartedCommand } from "../../observe/unstarted-command.ts";
import { type ProcessIdentity, sameProcess } from "../../processes/probe/identity.ts";
import { readExitRecord } from "../../processes/run-folder/exit-record.ts";
import { probeLifePipe } from "../../processes/run-folder/life-pipe.ts";
import { limitRunLogs } from "../../processes/run-folder/limit-run-logs.ts";
import { readCommand } from "../../processes/run-folder/run-files.ts";
import { stopTree } from "../../processes/stopping/stop-tree.ts";
import { findStrays, type RunTree } from "../../processes/stopping/strays.ts";
import { reportExit } from "../exit-report.ts";
import type { CommandRunDeps } from "./command-run-deps.ts";
import type { OwnedRun } from "./owned-run.ts";
import type { RunProcesses } from "./run-processes.ts";

interface CommandEndOf {
  readonly processes: RunProcesses;
  /** Aborted once the run is over for this supervisor. */
  readonly signal: AbortSignal;
  /** The machine kept the command from being executed. */
  readonly onUnstarted: (found: UnstartedCommand) => void;
  readonly onOver: () => void;
}

/** How soon a step that the store refused is repeated. */
const againMs = 1000;

/**
 * Takes a command's run from its recorded exit to its settlement: stops strays, has the gate read as often as it takes, and settles. When
 * `signal` ends it half-way, the next supervisor goes on.
 */
export class CommandEnd {
  readonly #deps: CommandRunDeps;
  readonly #run: OwnedRun;
  readonly #of: CommandEndOf;
  /** Something of the run outlived the stop. */
  #leftStrays = false;
  #again: NodeJS.Timeout | undefined;

  constructor(deps: CommandRunDeps, run: OwnedRun, of: CommandEndOf) {
    this.#deps = deps;
    this.#run = run;
    this.#of = of;
    of.signal.addEventListener("abort", () => clearTimeout(this.#again), { once: true });
  }

  /** For an exit that was just recorded, as `status`. Never rejects. */
  async begin({ status, writtenAtHostMs }: { readonly status: number; readonly writtenAtHostMs: number }): Promise<void> {
    await this.#stopStrays(writtenAtHostMs);
    await this.#limitLogs();
    await this.#finalise(status);
  }

  /** For an exit that the previous supervisor recorded, as `status`: its strays may still live. Never rejects. */
  async carryOn(status: number | null): Promise<void> {
    const { runDir, runId } = this.#run;
    const record = await readExitRecord({ runDir, runId }).catch(() => undefined);
    await this.#stopStrays(record?.kind === "exit" ? record.writtenAtHostMs : this.#deps.host.clock.wall());
    await this.#limitLogs();
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

  /** Once more when nobody writes any longer: what came after the last look would stay as long as the log is kept. */
  async #limitLogs(): Promise<void> {
    const { runDir, stage, ref } = this.#run;
    try {
      for (const log of await limitRunLogs({ runDir, maxBytes: stage.log.maxBytes })) this.#deps.emit("log.truncated", { ...ref, ...log });
    } catch (thrown) {
      this.#deps.emit("loop.subject_failed", { loop: "worker", subject: `logs of run ${ref.runId}`, message: messageOf(thrown) });
    }
  }

  async #finalise(status: number | null): Promise<void> {
    const { emit, backend } = this.#deps;
    const { processes, signal, onUnstarted, onOver } = this.#of;
    const run = this.#run;
    try {
      if (signal.aborted) return;
      const evidence = { exitRecord: status, command: processes.command?.pid ?? null };
      const exited = { ...run.identity, exitCode: status, straysLeft: this.#leftStrays, evidence };
      const again = await reportExit(this.#deps, run.workerId, exited, {
        signal,
        onOutput: (output) => {
          if (output.kind !== "not_started") this.#deps.starts.started(run.identity.queue);
          else if (output.blame === "machine") onUnstarted(output);
        },
      });
      // Aborted while it was read: the gate was not read, and nothing follows from that.
      if (isAborted(signal)) return;
      if (again === undefined) onOver();
      else this.#finaliseIn(again - backend.now(), status);
    } catch (thrown) {
      // The exit is on record, so nothing is lost: repeated soon, and taken over by the job-reaper past the grace.
      emit("loop.subject_failed", { loop: "worker", subject: `run ${run.runId}`, message: messageOf(thrown) });
      this.#finaliseIn(againMs, status);
    }
  }

  #finaliseIn(ms: number, status: number | null): void {
    if (this.#of.signal.aborted) return;
    this.#again = setTimeout(() => void this.#finalise(status), Math.max(0, ms)).unref();
  }
}

/** Read again after an await: it may have been aborted meanwhile, which the types do not know. */
const isAborted = (signal: AbortSignal): boolean => signal.aborted;

/**
 * Stops what a run that ended by itself has left behind. `left`: something survived, or could not be examined, so the job waits for the
 * stopper's proof. Never rejects.
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
    // Both times are of this host's wall clock. The age only tells old processes from new ones.
    const strays = findStrays({ ...tree, endedAgoMs: Math.max(0, clock.wall() - run.writtenAtHostMs) });
    if (strays.length === 0 && (await probeLifePipe(runDir)) !== "held") return { left: false, command };
    if (strays.length > 0) emit("run.strays_stopped", { ...ref, pids: strays.map((stray) => stray.pid) });
    // With the pipe: the wrapper holds it until it has ended, and a stray that no scan finds holds it for longer.
    const result = await stopTree({ ...tree, seen: strays }, { runDir, clock, ...stop, signal });
    // Those that only the life pipe revealed.
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
