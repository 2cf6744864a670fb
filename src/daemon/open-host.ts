import type { Config } from "../config/config.ts";
import { prepareDataDirectory } from "../files/data-directory.ts";
import { lockDataDirectory } from "../files/data-lock.ts";
import { dataPaths } from "../files/data-paths.ts";
import type { HeldFile } from "../files/held-file.ts";
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
import type { Undo } from "../runtime/start-or-undo.ts";

/** Where a daemon runs: its host, and what it needs there. */
export interface DaemonHost {
  readonly host: Host;
  /** Absent: the data directory was closed to others already. */
  readonly exposedDirectory: ExposedDirectory | undefined;
  readonly installation: Installation;
  /** The daemon's own process. */
  readonly self: ProcessIdentity;
  readonly tools: WrapperTools;
  /** The data directory, which is this daemon's alone. */
  readonly held: HeldFile;
}

export interface HostDeps {
  readonly config: Pick<Config, "dataDir" | "store">;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly clock: HostClock;
  readonly undo: Undo;
}

/** Makes the data directory ready and looks around. Throws typed errors: a directory that cannot be made, a damaged `host-id`, a missing program. */
export async function openHost({ config: { dataDir, store }, environment, clock, undo }: HostDeps): Promise<DaemonHost> {
  const paths = dataPaths(dataDir);
  await prepareDataDirectory(paths);
  // Before anything in it is read.
  const held = await lockDataDirectory(dataDir, { pid: process.pid, startedAt: new Date(clock.wall()).toISOString() });
  undo.push(() => held.release());
  const exposedDirectory = await restrictDirectory({ dataDir, store, uid: process.getuid?.() });
  const identity = await readHostIdentity({ stateDir: dataDir, randomId: newHostId });
  const table = systemProcessTable();
  return {
    host: { identity, probe: createProcessProbe({ host: identity, table }), table, paths, clock },
    exposedDirectory,
    installation: await installationOf(dataDir),
    self: ownIdentity(identity, table),
    held,
    tools: await findWrapperTools({ path: environment.PATH ?? "/usr/local/bin:/usr/bin:/bin" }),
  };
}
