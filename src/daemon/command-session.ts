import type { Config } from "../config/config.ts";
import type { ProcessIdentity } from "../processes/probe/identity.ts";
import type { Emit } from "../telemetry/events.ts";
import type { CommandWorker } from "../worker/commands/command-worker.ts";
import { Session } from "../worker/session.ts";
import type { WorkerBackend } from "../worker/worker-backend.ts";
import type { Watch } from "./open-watch.ts";

export interface CommandSessionOptions {
  readonly name: string;
  readonly process: ProcessIdentity;
  readonly backend: WorkerBackend;
  readonly newHelloId: () => string;
  readonly config: Pick<Config, "worker">;
  readonly worker: CommandWorker;
  readonly watch: Pick<Watch, "lag">;
  readonly emit: Emit;
}

/** Registers the daemon's worker of commands, and gives it the session. */
export async function openCommandSession({ config, worker, watch, ...options }: CommandSessionOptions): Promise<Session> {
  const session = await Session.open({
    ...options,
    kind: "command",
    concurrency: worker.concurrency,
    queues: worker.queues,
    renewMs: config.worker.renewMs,
    renewTimeoutMs: config.worker.renewTimeoutMs,
    held: () => worker.held(),
    claimSeqReceived: () => worker.claimSeqReceived,
    loopLagMs: () => watch.lag.take(),
    onLost: (runId) => worker.lose(runId),
    onNewSession: (workerId) => worker.changeSession(workerId),
  });
  worker.useSession(session.workerId);
  return session;
}
