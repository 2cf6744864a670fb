import type { JobId, OwnerEpoch, RunId } from "../../domain/ids.ts";
import { runDirOf } from "../../files/data-paths.ts";
import type { RunOutcome } from "../../liveness/retry-contract.ts";
import type { StageDefinition } from "../../pipelines/definition.ts";
import { type EndDetails, neverStartedDeathsBefore, settlementOfFailure } from "../../settling/settlement.ts";
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

/** One run under this supervisor's fence: what the store is asked about it, how it is settled, and what is told of that. */
export class OwnedRun {
  readonly runId: RunId;
  readonly jobId: JobId;
  readonly queue: string;
  readonly ownerEpoch: OwnerEpoch;
  readonly stage: StageDefinition;
  readonly runDir: string;
  readonly #deps: Pick<CommandRunDeps, "store" | "settling" | "emit">;

  constructor(deps: Pick<CommandRunDeps, "store" | "settling" | "emit" | "paths">, run: RunIdentity) {
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

  async neverStartedDeaths(): Promise<number> {
    return neverStartedDeathsBefore(await this.#deps.store.runs.ofJob(this.jobId), this.runId);
  }

  /** The settlement of an end other than success, as of now. */
  failure(live: LiveRun, outcome: RunOutcome, details: EndDetails): Settlement {
    const { settling, store } = this.#deps;
    return settlementOfFailure(live, outcome, details, { ...settling, stage: this.stage, now: store.now(), actor: "worker" });
  }

  /** @param onAnswered - called once the store has answered, and before anything is told. */
  async settle(settlement: Settlement, onAnswered: () => void): Promise<void> {
    const { store, emit } = this.#deps;
    const [answer] = await store.runs.settle([settlement]);
    onAnswered();
    if (answer?.kind === "ok") {
      const { outcome, reason, message = "", then, actor = "worker" } = settlement;
      emit("run.ended", { ...this.ref, outcome, reason, message, jobState: then.to, actor });
    } else if (answer?.kind === "lost") {
      emit("run.late_result", { ...this.ref, tried: settlement.outcome, why: answer.why });
    }
  }
}
