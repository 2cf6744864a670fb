import type { ProcessIdentity } from "../probe/identity.ts";
import { isFrozen, isZombie, type ProcessRow } from "../probe/process-stat.ts";
import type { ProcessTable } from "../probe/process-table.ts";

/** A wrapper of this boot and namespace, while it lives: it may still record how its command ended. */
export function livingWrapper(table: Pick<ProcessTable, "look">, wrapper: ProcessIdentity): ProcessRow | undefined {
  const sight = table.look(wrapper.pid);
  return sight.kind === "seen" && sight.row.startTime === wrapper.startTime && !isZombie(sight.row) ? sight.row : undefined;
}

/**
 * Lets a stopped wrapper go on, so that it records how its command ended. Only for a command known to be dead. True: it was stopped and has
 * been told to continue.
 */
export function continueWrapper(table: Pick<ProcessTable, "look" | "signal">, wrapper: ProcessIdentity): boolean {
  const row = livingWrapper(table, wrapper);
  return row !== undefined && isFrozen(row) && table.signal(row.pid, "SIGCONT") === "sent";
}
