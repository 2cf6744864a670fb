import { messageOf, WakefulError } from "../domain/errors.ts";
import { readHostIdentity } from "../processes/probe/host-identity.ts";
import type { HostIdentity, ProcessIdentity } from "../processes/probe/identity.ts";
import { ownIdentity } from "../processes/probe/own-identity.ts";
import { type ProcessTable, systemProcessTable } from "../processes/probe/process-table.ts";
import { newClientId } from "../runtime/entropy.ts";
import { runCommand } from "../worker/foreground/foreground-run.ts";
import type { CliHost, RunCommandRequest } from "./host.ts";
import { createRunApi } from "./run-api.ts";

export interface RunInForegroundOptions {
  readonly request: RunCommandRequest;
  readonly host: Pick<CliHost, "cwd" | "env" | "clock" | "output" | "onSignal">;
  /** This process's own. */
  readonly pid: number;
  /** Whether a terminal controls the command: its interrupts then reach the command as well. */
  readonly interactive: boolean;
}

/**
 * `wakeful run -- CMD` in this process: resolves to the command's exit code.
 *
 * @throws {WakefulError} `bad_request`: the daemon is on another host, or another user's. Else as `runCommand` and the daemon's API.
 */
export async function runInForeground({ request, host, pid, interactive }: RunInForegroundOptions): Promise<number> {
  const { argv, lease, daemon } = request;
  const table = systemProcessTable();
  const say = (line: string): void => host.output.err(line);
  if (daemon === undefined && lease === undefined) say("wakeful: no daemon answers; the command runs all the same, and nothing records it");
  return await runCommand({
    foreground: { argv, cwd: host.cwd, say, onSignal: host.onSignal, interactive },
    lease,
    daemon: daemon === undefined ? undefined : { api: createRunApi(daemon.client), ...(await identities(daemon.dataDir, { table, pid })) },
    table,
    environment: host.env,
    newTicket: newClientId,
    monoNow: () => host.clock.mono(),
  });
}

/** The identities of this host and this process; the daemon's data directory must be on this host. */
async function identities(
  dataDir: string,
  { table, pid }: { readonly table: ProcessTable; readonly pid: number },
): Promise<{ readonly host: HostIdentity; readonly self: ProcessIdentity }> {
  let host: HostIdentity;
  try {
    host = await readHostIdentity({
      stateDir: dataDir,
      randomId: () => {
        throw new WakefulError("bad_request", "there is no host id");
      },
    });
  } catch (cause) {
    throw new WakefulError(
      "bad_request",
      `wakeful run works on the host of its daemon and as its user alone; the daemon's directory ${dataDir} cannot be used from here: ${messageOf(cause)}.`,
      { cause, details: { dataDir } },
    );
  }
  return { host, self: ownIdentity(host, table, pid) };
}
