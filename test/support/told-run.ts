import { asJobId, asRunId } from "../../src/domain/ids.ts";
import { asInstant } from "../../src/domain/time.ts";
import { EventBus } from "../../src/telemetry/event-bus.ts";

/** A bus whose clock stands still and whose subscribers may not throw. */
export const busAt = (at: number): EventBus =>
  new EventBus(
    () => asInstant(at),
    (thrown) => {
      throw thrown;
    },
  );

/** What `run.reaped` tells of a run. */
export const reaped = {
  runId: asRunId(9),
  jobId: asJobId(7),
  queue: "q",
  agent: "dev",
  repo: "org/app",
  pid: 812,
  outcome: "requeued",
  reason: "dead_pid",
};
