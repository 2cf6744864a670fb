import type { Config } from "../config/config.ts";
import { closeDirectory, type OpenDirectory } from "../files/close-directory.ts";
import { prepareDataDirectory } from "../files/data-directory.ts";
import { type DataPaths, dataPaths } from "../files/data-paths.ts";
import { type Instance, instanceOf } from "../files/installation.ts";
import { readHostIdentity } from "../processes/probe/host-identity.ts";
import { createProcessProbe, type HostIdentity, type ProcessIdentity, type ProcessProbe } from "../processes/probe/identity.ts";
import { ownIdentity } from "../processes/probe/own-identity.ts";
import { type ProcessTable, systemProcessTable } from "../processes/probe/process-table.ts";
import { findWrapperTools, type WrapperTools } from "../processes/wrapper/wrapper-tools.ts";
import { newHostId } from "../runtime/entropy.ts";

/** Where a daemon runs: its directory, its host, and what it sees and uses there. */
export interface DaemonPlace {
  readonly paths: DataPaths;
  /** Absent: the data directory was closed to others already. */
  readonly openDirectory: OpenDirectory | undefined;
  readonly host: HostIdentity;
  readonly instance: Instance;
  readonly table: ProcessTable;
  readonly probe: ProcessProbe;
  /** The daemon's own process. */
  readonly self: ProcessIdentity;
  readonly tools: WrapperTools;
}

export interface PlaceOptions {
  readonly config: Pick<Config, "dataDir" | "store">;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** Makes the data directory ready and looks around. Throws typed errors: a directory that cannot be made, a damaged `host-id`, a missing program. */
export async function preparePlace({ config: { dataDir, store }, environment }: PlaceOptions): Promise<DaemonPlace> {
  const paths = dataPaths(dataDir);
  await prepareDataDirectory(paths);
  const openDirectory = await closeDirectory({ dataDir, store, uid: process.getuid?.() });
  const host = await readHostIdentity({ stateDir: dataDir, randomId: newHostId });
  const table = systemProcessTable();
  return {
    paths,
    openDirectory,
    host,
    instance: await instanceOf(dataDir),
    table,
    probe: createProcessProbe({ host, table }),
    self: ownIdentity(host, table),
    tools: await findWrapperTools({ path: environment.PATH ?? "/usr/local/bin:/usr/bin:/bin" }),
  };
}
