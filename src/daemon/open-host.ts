import type { Config } from "../config/config.ts";
import { prepareDataDirectory } from "../files/data-directory.ts";
import { dataPaths } from "../files/data-paths.ts";
import { type Installation, installationOf } from "../files/installation.ts";
import { type ExposedDirectory, restrictDirectory } from "../files/restrict-directory.ts";
import type { Host } from "../processes/probe/host.ts";
import { readHostIdentity } from "../processes/probe/host-identity.ts";
import { createProcessProbe, type ProcessIdentity } from "../processes/probe/identity.ts";
import { ownIdentity } from "../processes/probe/own-identity.ts";
import { systemProcessTable } from "../processes/probe/process-table.ts";
import { findWrapperTools, type WrapperTools } from "../processes/wrapper/wrapper-tools.ts";
import type { HostClock } from "../runtime/clock.ts";
import { newHostId } from "../runtime/entropy.ts";

/** Where a daemon runs: its host, and what it needs there. */
export interface DaemonHost {
  readonly host: Host;
  /** Absent: the data directory was closed to others already. */
  readonly exposedDirectory: ExposedDirectory | undefined;
  readonly installation: Installation;
  /** The daemon's own process. */
  readonly self: ProcessIdentity;
  readonly tools: WrapperTools;
}

export interface HostDeps {
  readonly config: Pick<Config, "dataDir" | "store">;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly clock: HostClock;
}

/** Makes the data directory ready and looks around. Throws typed errors: a directory that cannot be made, a damaged `host-id`, a missing program. */
export async function openHost({ config: { dataDir, store }, environment, clock }: HostDeps): Promise<DaemonHost> {
  const paths = dataPaths(dataDir);
  await prepareDataDirectory(paths);
  const exposedDirectory = await restrictDirectory({ dataDir, store, uid: process.getuid?.() });
  const identity = await readHostIdentity({ stateDir: dataDir, randomId: newHostId });
  const table = systemProcessTable();
  return {
    host: { identity, probe: createProcessProbe({ host: identity, table }), table, paths, clock },
    exposedDirectory,
    installation: await installationOf(dataDir),
    self: ownIdentity(identity, table),
    tools: await findWrapperTools({ path: environment.PATH ?? "/usr/local/bin:/usr/bin:/bin" }),
  };
}
