import { intakeSpec } from "../intake/intake-loop.ts";
import { reconcilerSpec } from "../loops/items/reconciler.ts";
import { outboxSpec } from "../loops/outbox.ts";
import { retentionSpec } from "../loops/retention/retention.ts";
import { jobReaperSpec } from "../loops/runs/job-reaper.ts";
import { stopperSpec } from "../loops/runs/stopper.ts";
import { schedulerSpec } from "../loops/scheduler.ts";
import { workerReaperSpec } from "../loops/sessions/worker-reaper.ts";
import { everyLoop } from "../loops/skeleton/loop-spec.ts";

/** The loops of a daemon, in the order in which they are listed: all that there are. */
export const daemonLoops = everyLoop([
  jobReaperSpec,
  stopperSpec,
  workerReaperSpec,
  reconcilerSpec,
  intakeSpec,
  outboxSpec,
  schedulerSpec,
  retentionSpec,
]);
