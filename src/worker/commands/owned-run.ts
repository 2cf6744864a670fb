import type { ItemId, JobId, OwnerEpoch, RunId, WorkerId } from "../../domain/ids.ts";
import { runDirOf } from "../../files/data-paths.ts";
import type { StageDefinition } from "../../pipelines/definition.ts";
import type { Fence } from "../../store/port/runs.ts";
import type { EndAnswer, RunEnding, WorkItem } from "../worker-backend.ts";
import type { CommandRunDeps } from "./command-run-deps.ts";

/** Identity of a run, and the fence under which it is ours. */
export interface RunIdentity {
  readonly runId: RunId;
  readonly jobId: JobId;
  readonly queue: string;
  readonly attempt: number;
  readonly ownerEpoch: OwnerEpoch;
  readonly itemId: ItemId | null;
  readonly item?: WorkItem | undefined;
  readonly stage: StageDefinition;
  /** The session under which it is ours; a later one of the same worker knows nothing of it. */
  readonly workerId: WorkerId;
}

/** One run under this supervisor's fence, and the reports about it. */
export class OwnedRun {
  readonly identity: RunIdentity;
  readonly runDir: string;
  readonly #backend: CommandRunDeps["backend"];

  constructor({ backend, host }: Pick<CommandRunDeps, "backend" | "host">, identity: RunIdentity) {
    this.#backend = backend;
    this.identity = identity;
    this.runDir = runDirOf(host.paths, identity.runId);
  }

  get runId(): RunId {
    return this.identity.runId;
  }

  get workerId(): WorkerId {
    return this.identity.workerId;
  }

  get stage(): StageDefinition {
    return this.identity.stage;
  }

  get fence(): Fence {
    const { runId, ownerEpoch } = this.identity;
    return { runId, ownerEpoch };
  }

  /** What events name it by. */
  get ref(): { readonly runId: RunId; readonly jobId: JobId; readonly queue: string } {
    const { runId, jobId, queue } = this.identity;
    return { runId, jobId, queue };
  }

  /** Reports how it ended. */
  async report(ending: RunEnding, how: { readonly mayStillRun?: boolean } = {}): Promise<EndAnswer> {
    const [answer] = await this.#backend.end(this.workerId, [{ ...this.fence, ending, ...how }]);
    return answer ?? { kind: "gone" };
  }
}
