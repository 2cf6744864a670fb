import { constants as fileModes } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { constants } from "node:os";
import { messageOf, WakefulError } from "../../domain/errors.ts";
import { type DurationMs, seconds } from "../../domain/time.ts";
import { replaceFile } from "../../files/regular-file.ts";
import type { HostIdentity, ProcessIdentity } from "../../processes/probe/identity.ts";
import { identityOf } from "../../processes/probe/own-identity.ts";
import type { ProcessTable } from "../../processes/probe/process-table.ts";
import { exitRecordBytes } from "../../processes/run-folder/exit-record.ts";
import { makeLifePipe } from "../../processes/run-folder/life-pipe.ts";
import { identityRecord, runFiles } from "../../processes/run-folder/run-files.ts";
import { cleanEnvironment, formatMarker, markerVariable, ownMarker } from "../../processes/run-folder/run-marker.ts";
import { findStrays } from "../../processes/stopping/strays.ts";
import type { Pause } from "../../runtime/pause.ts";
import type { RunCommandApi } from "./foreground-api.ts";
import { type CommandEnded, ForegroundCommand, type ForegroundOptions, type ForwardedSignal } from "./foreground-command.ts";
import { ForegroundLease, type WantedLease } from "./foreground-lease.ts";
import type { OpenedRunSession, RunSessionRef } from "./foreground-sessions.ts";

export interface RunCommandOptions {
  readonly foreground: ForegroundOptions;
  readonly lease?: WantedLease | undefined;
  /** Absent: no daemon answers. The command still runs, unless it wants a lease. */
  readonly daemon?: { readonly api: RunCommandApi; readonly host: HostIdentity; readonly self: ProcessIdentity } | undefined;
  readonly table: ProcessTable;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly newTicket: () => string;
  readonly monoNow: () => number;
  readonly pause?: Pause | undefined;
  /** From TERM to KILL, for a command whose lease was lost. Default 5 000. */
  readonly stopGraceMs?: DurationMs | undefined;
}

/**
 * `wakeful run -- CMD`: runs a command in the foreground as a run of the daemon, holding a lease if asked to, and passes its exit code
 * through (128 + n for signal n).
 *
 * @throws {WakefulError} `daemon_unreachable`: a lease without a daemon. `conflict`: the lease was not granted in time.
 */
export async function runCommand(options: RunCommandOptions): Promise<number> {
  const { foreground, lease, daemon } = options;
  const { argv, cwd } = foreground;
  if (argv.length === 0) throw new WakefulError("bad_request", "Name the command to run: wakeful run -- make test");
  if (daemon === undefined) {
    if (lease !== undefined) {
      throw new WakefulError(
        "daemon_unreachable",
        `The lease "${lease.name}" cannot be held without a daemon: start it with \`wakeful up\`.`,
      );
    }
    return (await new ForegroundCommand(foreground, inheritedEnvironment(options.environment)).run(() => Promise.resolve(), undefined))
      .exitCode;
  }
  const { api, self } = daemon;
  const run = await api.open({ argv, cwd, process: self });
  const supervised = new SupervisedRun(options, { api, self, host: daemon.host, run });
  return await supervised.toItsEnd();
}

class SupervisedRun {
  readonly #options: RunCommandOptions;
  readonly #api: RunCommandApi;
  readonly #self: ProcessIdentity;
  readonly #host: HostIdentity;
  readonly #run: OpenedRunSession;
  readonly #interrupted = new AbortController();
  #renewing: NodeJS.Timeout | undefined;
  readonly #lease: ForegroundLease | undefined;
  #command: ForegroundCommand | undefined;
  /** The command's process, until the daemon has recorded it. */
  #unrecorded: ProcessIdentity | undefined;
  /** Held open by us and by all that the command starts. */
  #lifePipe: FileHandle | undefined;
  #told = new Set<string>();

  constructor(
    options: RunCommandOptions,
    of: { readonly api: RunCommandApi; readonly self: ProcessIdentity; readonly host: HostIdentity; readonly run: OpenedRunSession },
  ) {
    this.#options = options;
    this.#api = of.api;
    this.#self = of.self;
    this.#host = of.host;
    this.#run = of.run;
    const { lease, newTicket, monoNow, pause } = options;
    if (lease === undefined) return;
    this.#lease = new ForegroundLease({
      api: of.api,
      runId: of.run.runId,
      lease,
      newTicket,
      monoNow,
      pause,
      signal: this.#interrupted.signal,
      say: (line) => this.#say(line),
      sayOnce: (line) => this.#sayOnce(line),
      onLost: (why) => this.#leaseLost(why),
    });
  }

  async toItsEnd(): Promise<number> {
    const { renewMs } = this.#run;
    this.#lifePipe = await this.#openLifePipe();
    const stopListening = (["SIGINT", "SIGTERM", "SIGHUP"] as const).map((signal) =>
      this.#options.foreground.onSignal(signal, () => this.#interrupted.abort(signal)),
    );
    this.#renewing = setInterval(() => this.#renew(), renewMs);
    try {
      await this.#lease?.acquire();
      if (this.#interrupted.signal.aborted) return await this.#giveUp();
      if (!(await this.#api.start({ ...this.#ref(), process: this.#self }))) {
        throw new WakefulError("conflict", "The run was ended before its command could be started.");
      }
      if (this.#interrupted.signal.aborted) return await this.#giveUp();
    } catch (thrown) {
      await this.#withdraw(messageOf(thrown));
      throw thrown;
    } finally {
      for (const stop of stopListening) stop();
    }
    try {
      return await this.#runCommand();
    } finally {
      this.#stopTimers();
      await this.#lifePipe?.close();
    }
  }

  async #runCommand(): Promise<number> {
    const { foreground, environment } = this.#options;
    const { runId, jobId } = this.#run;
    this.#command = new ForegroundCommand(foreground, {
      ...inheritedEnvironment(environment),
      WAKEFUL_RUN_ID: String(runId),
      WAKEFUL_JOB_ID: String(jobId),
      [markerVariable]: formatMarker({ runId, hostId: this.#host.hostId }),
      ...(this.#lease?.fencing === undefined ? {} : { WAKEFUL_LEASE_FENCING: String(this.#lease.fencing) }),
    });
    const ended = await this.#command.run((pid) => this.#recordCommand(pid), this.#lifePipe?.fd);
    // Written to disk first, so that it is found even when the daemon is away and this process is killed next.
    await this.#spoolExit(ended);
    this.#nameLeftOver();
    await this.#lease?.release();
    try {
      await this.#api.end({ ...this.#ref(), exitCode: ended.exitCode });
    } catch (thrown) {
      this.#say(
        `the daemon does not answer; how the command ended is kept in ${this.#run.runDir} and recorded when it is back (${messageOf(thrown)})`,
      );
    }
    return ended.exitCode;
  }

  /** What proves to a daemon that cannot see our processes that we and the command live. Without it the run is judged by our silence. */
  async #openLifePipe(): Promise<FileHandle | undefined> {
    const { runDir } = this.#run;
    try {
      await makeLifePipe(runDir);
      // Both ends, so that it opens at once and nobody who probes it sees an end of file.
      return await open(runFiles(runDir).lifePipe, fileModes.O_RDWR | fileModes.O_NONBLOCK | fileModes.O_NOFOLLOW);
    } catch {
      // No mkfifo, or a folder that cannot be written: the run goes on as it did before there was a pipe.
      return undefined;
    }
  }

  /** A shell would leave them in silence as well, but nobody would take its end for theirs, and pass the lease on. */
  #nameLeftOver(): void {
    const { table } = this.#options;
    const left = findStrays({ runId: this.#run.runId, host: this.#host, table, shielded: [this.#self], endedAgoMs: 0 });
    if (left.length === 0) return;
    const pids = left.map(({ pid }) => pid).join(", ");
    const [are, they] = left.length === 1 ? ["process", "It lives"] : ["processes", "They live"];
    const lease = this.#lease === undefined ? "" : ", and the lease goes to the next in line meanwhile";
    this.#say(`the command has ended and left ${left.length} ${are} behind: ${pids}. ${they} on${lease}.`);
  }

  /** The run depends on the command's own process, which may outlive this one. */
  async #recordCommand(pid: number): Promise<void> {
    const sight = this.#options.table.look(pid);
    if (sight.kind !== "seen") return;
    const process = identityOf(this.#host, sight.row);
    try {
      // Written beside and renamed: the command may put anything in its folder, and a replaced file cannot block.
      const { command } = runFiles(this.#run.runDir);
      await replaceFile({ path: command, draft: `${command}.new`, text: identityRecord(this.#run.runId, process) });
      this.#unrecorded = process;
      await this.#api.recordCommand({ ...this.#ref(), process });
      this.#unrecorded = undefined;
    } catch (thrown) {
      // The file alone tells a later judge too, and the command waits for neither. Repeated with the next renewal.
      this.#say(`the command's process could not be recorded: ${messageOf(thrown)}`);
    }
  }

  async #spoolExit({ exitCode, endedBy }: CommandEnded): Promise<void> {
    const { runId, runDir } = this.#run;
    const files = runFiles(runDir);
    const record = `${runId} ${exitCode} ${this.#self.bootId}\n`;
    try {
      await replaceFile({ path: files.endedBy, draft: `${files.endedBy}.new`, text: `${runId} ${endedBy}\n` });
      await replaceFile({ path: files.exit, draft: files.exitDraft, text: record.padEnd(exitRecordBytes, " ") });
    } catch (thrown) {
      this.#say(`how the command ended could not be written to ${runDir}: ${messageOf(thrown)}`);
    }
  }

  #renew(): void {
    this.#api.renew(this.#ref()).then(
      ({ lost }) => {
        if (lost === null) {
          this.#recordAgain();
          return;
        }
        clearInterval(this.#renewing);
        if (this.#lease?.fencing !== undefined) this.#leaseLost(`the run, which holds the lease, was ended: ${lost}`);
        else this.#sayOnce(`the daemon no longer follows this run (${lost}); the command goes on`);
      },
      (thrown: unknown) => this.#sayOnce(`the daemon does not answer: ${messageOf(thrown)}; the command goes on`),
    );
  }

  /** Repeats what the daemon missed while it was away: it keeps a lease only for a command that it knows to live. */
  #recordAgain(): void {
    const process = this.#unrecorded;
    if (process === undefined) return;
    this.#api.recordCommand({ ...this.#ref(), process }).then(
      () => {
        this.#unrecorded = undefined;
      },
      () => undefined,
    );
  }

  /** The lease's new holder relies on this command being gone. */
  #leaseLost(why: string): void {
    this.#stopTimers();
    this.#say(`${why}; stopping the command`);
    this.#command?.stop(this.#options.stopGraceMs ?? seconds(5));
    this.#interrupted.abort("SIGTERM");
  }

  async #giveUp(): Promise<number> {
    const signal = this.#interrupted.signal.reason as ForwardedSignal;
    await this.#withdraw(`${signal} came before the command was started`);
    return 128 + constants.signals[signal];
  }

  async #withdraw(reason: string): Promise<void> {
    this.#stopTimers();
    await this.#lease?.release();
    // Without an answer the run is found by its dead process.
    await this.#api.abandon({ ...this.#ref(), reason }).catch(() => undefined);
  }

  #ref(): RunSessionRef {
    const { workerId, runId, ownerEpoch } = this.#run;
    return { workerId, runId, ownerEpoch };
  }

  #stopTimers(): void {
    clearInterval(this.#renewing);
    this.#lease?.stopRenewing();
  }

  #say(line: string): void {
    this.#options.foreground.say(`wakeful: ${line}`);
  }

  #sayOnce(line: string): void {
    if (this.#told.has(line)) return;
    this.#told.add(line);
    this.#say(line);
  }
}

/** Our whole environment without the variables of an enclosing run: the command's run is another. */
function inheritedEnvironment(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  if (ownMarker(env) !== undefined) return cleanEnvironment(env);
  return Object.fromEntries(Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined));
}
