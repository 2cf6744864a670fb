import type { Config } from "../config/config.ts";
import type { ProcessIdentity } from "../processes/probe/identity.ts";
import type { Store } from "../store/port/store.ts";
import type { Emit } from "../telemetry/events.ts";
import type { CommandWorker } from "../worker/commands/command-worker.ts";
import { Session } from "../worker/session.ts";
import type { Repairs } from "./daemon-loops.ts";

export interface CommandSessionOptions {
  readonly name: string;
  readonly process: ProcessIdentity;
  readonly store: Pick<Store, "workers">;
  readonly config: Pick<Config, "worker">;
  readonly worker: CommandWorker;
  readonly repairs: Pick<Repairs, "loopLagMs" | "renewals">;
  readonly emit: Emit;
}

/** Registers the daemon's worker of commands, and gives it the session. */
export async function openCommandSession({ store, config, worker, repairs, ...options }: CommandSessionOptions): Promise<Session> {
  const session = await Session.open({
    ...options,
    workers: store.workers,
    kind: "command",
    concurrency: worker.concurrency,
    queues: worker.queues,
    renewMs: config.worker.renewMs,
    renewTimeoutMs: config.worker.renewTimeoutMs,
    held: () => worker.held(),
    claimSeqReceived: () => worker.claimSeqReceived,
    loopLagMs: () => repairs.loopLagMs(),
    onLost: (runId) => worker.lose(runId),
    onNewSession: (workerId) => worker.changeSession(workerId),
    onRenewed: (renewal) => repairs.renewals.heard(renewal),
  });
  worker.useSession(session.workerId);
  return session;
}
