import { WakefulError } from "../domain/errors.ts";
import type { HostIdentity, ProcessIdentity } from "./identity.ts";
import type { ProcessTable } from "./process-table.ts";
import { identityOf } from "./strays.ts";

/** Who this process is, or another that is our own to ask about (`pid`). @throws {WakefulError} `internal`: the table does not show it. */
export function ownIdentity(host: HostIdentity, table: Pick<ProcessTable, "look">, pid: number = process.pid): ProcessIdentity {
  const sight = table.look(pid);
  if (sight.kind !== "seen") throw new WakefulError("internal", "This process cannot see itself in the process table; is /proc mounted?");
  return identityOf(host, sight.row);
}
