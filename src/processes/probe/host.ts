import type { DataPaths } from "../../files/data-paths.ts";
import type { HostClock } from "../../runtime/clock.ts";
import type { HostIdentity, ProcessProbe } from "./identity.ts";
import type { ProcessTable } from "./process-table.ts";

/** The installation that a process works for: its name, what it sees on its machine, and where its files are. */
export interface Host {
  readonly identity: HostIdentity;
  readonly probe: ProcessProbe;
  readonly table: ProcessTable;
  readonly paths: DataPaths;
  readonly clock: HostClock;
}
