import type { JobId, OwnerEpoch, RunId } from "../../domain/ids.ts";
import { runDirOf } from "../../files/data-paths.ts";
import type { StageDefinition } from "../../pipelines/definition.ts";
import type { RunFailure } from "../../settling/run-ender.ts";
import type { LiveRun, Settlement } from "../../store/port/runs.ts";
import type { CommandRunDeps } from "./command-run-deps.ts";

/** Who a run is, and under which fence it is ours. */
export interface RunIdentity {
  readonly runId: RunId;
  readonly jobId: JobId;
  readonly queue: string;
  readonly ownerEpoch: OwnerEpoch;
  readonly stage: StageDefinition;
}

/** One run under this supervisor's fence: what the store is asked about it, and how it ends. */
export class OwnedRun {
  readonly runId: RunId;
  readonly jobId: JobId;
  readonly queue: string;
  readonly ownerEpoch: OwnerEpoch;
  readonly stage: StageDefinition;
  readonly runDir: string;
  readonly #deps: Pick<CommandRunDeps, "store" | "ender">;

  constructor(deps: Pick<CommandRunDeps, "store" | "ender" | "paths">, run: RunIdentity) {
    this.#deps = deps;
    this.runId = run.runId;
    this.jobId = run.jobId;
    this.queue = run.queue;
    this.ownerEpoch = run.ownerEpoch;
    this.stage = run.stage;
    this.runDir = runDirOf(deps.paths, run.runId);
  }

  get fence(): { readonly runId: RunId; readonly ownerEpoch: OwnerEpoch } {
    return { runId: this.runId, ownerEpoch: this.ownerEpoch };
  }

  /** How events name it. */
  get ref(): { readonly runId: RunId; readonly jobId: JobId; readonly queue: string } {
    return { runId: this.runId, jobId: this.jobId, queue: this.queue };
  }

  /** As the store has it; undefined once it has ended, or is another supervisor's. */
  async live(): Promise<LiveRun | undefined> {
    const [live] = await this.#deps.store.runs.listLive([this.runId]);
    return live !== undefined && live.ownerEpoch === this.ownerEpoch ? live : undefined;
  }

  /**
   * Ends it other than well.
   *
   * @param onAnswered - called once the store has answered, and before anything is told.
   */
  async end(live: LiveRun, failure: RunFailure, onAnswered: () => void): Promise<void> {
    await this.#deps.ender.end(live, { ...failure, stage: this.stage }, { actor: "worker", supervises: true, onAnswered });
  }

  /** Ends it as its result says. */
  async write(settlement: Settlement, how: { readonly mayStillLive: boolean; readonly onAnswered: () => void }): Promise<void> {
    await this.#deps.ender.write(this, settlement, { ...how, supervises: true });
  }
}
