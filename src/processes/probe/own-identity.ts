import { WakefulError } from "../../domain/errors.ts";
import type { HostIdentity, ProcessIdentity } from "./identity.ts";
import type { ProcessRow } from "./process-stat.ts";
import type { ProcessTable } from "./process-table.ts";

/** The identity of a process that was just seen here. */
export const identityOf = (host: HostIdentity, row: ProcessRow): ProcessIdentity => ({
  hostId: host.hostId,
  bootId: host.bootId,
  pidNamespace: host.pidNamespace,
  pid: row.pid,
  startTime: row.startTime,
});

/**
 * The identity of this process, or of another of our own (`pid`).
 *
 * @throws {WakefulError} `internal`: the process table does not show it.
 */
export function ownIdentity(host: HostIdentity, table: Pick<ProcessTable, "look">, pid: number = process.pid): ProcessIdentity {
  const sight = table.look(pid);
  if (sight.kind !== "seen") throw new WakefulError("internal", "This process cannot see itself in the process table; is /proc mounted?");
  return identityOf(host, sight.row);
}
