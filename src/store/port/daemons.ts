import type { HostId } from "../../domain/ids.ts";
import type { Instant } from "../../domain/time.ts";
import type { StoredProcess } from "./runs.ts";

/** The daemon of a data directory, or the last one that it had. */
export interface DaemonRow {
  readonly process: StoredProcess;
  /** Where it is, for people: the machine's name and the data directory. */
  readonly place: string;
  readonly version: string;
  readonly startedAt: Instant;
  readonly heardAt: Instant;
  /** When it stopped in order. Null: it runs, or it died. */
  readonly endedAt: Instant | null;
}

/** One row for each data directory, by the id of its host. */
export interface DaemonsStore {
  /** A daemon starts, in the place of the one before it. */
  begin(daemon: Pick<DaemonRow, "process" | "place" | "version">): Promise<void>;
  /** It lives. */
  beat(hostId: HostId): Promise<void>;
  /** It stops in order. */
  end(hostId: HostId): Promise<void>;
  /** In the order in which they were started, however long ago. */
  list(): Promise<readonly DaemonRow[]>;
}
