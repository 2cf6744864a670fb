import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";
import { formatDuration } from "../domain/durations.ts";
import { isWakefulError, messageOf, WakefulError } from "../domain/errors.ts";
import type { RunId } from "../domain/ids.ts";
import { type DurationMs, hours, seconds } from "../domain/time.ts";
import { exitRecordBytes } from "../processes/exit-record.ts";
import type { HostIdentity, ProcessIdentity } from "../processes/identity.ts";
import { type Pause, timerPause } from "../processes/pause.ts";
import type { ProcessTable } from "../processes/process-table.ts";
import { replaceFile } from "../processes/regular-file.ts";
import { runFiles } from "../processes/run-files.ts";
import { cleanEnvironment, formatMarker, markerVariable, ownMarker } from "../processes/run-marker.ts";
import { identityOf } from "../processes/strays.ts";
import { identityRecord, type OpenedRunSession, type OpenRunSession, type RunSessionRef } from "./run-sessions.ts";

/** What `wakeful run` asks of the daemon. Each may reject with `daemon_unreachable`; all but `open` and `acquireLease` may be repeated. */
export interface RunCommandApi {
  open(request: OpenRunSession): Promise<OpenedRunSession>;
  /** False: the run was ended meanwhile, and its command must not be started. */
  start(run: RunSessionRef & { readonly process: ProcessIdentity }): Promise<boolean>;
  recordCommand(run: RunSessionRef & { readonly process: ProcessIdentity }): Promise<boolean>;
  renew(run: RunSessionRef): Promise<{ readonly lost: string | null }>;
  end(run: RunSessionRef & { readonly exitCode: number }): Promise<boolean>;
  abandon(run: RunSessionRef & { readonly reason: string }): Promise<void>;
  /** Repeated with the same ticket until it is held or timed out. `waitMs` 0: now or not at all. */
  acquireLease(request: {
    readonly name: string;
    readonly ticket: string;
    readonly runId: RunId;
    readonly ttlMs: DurationMs;
    readonly maxHoldMs: DurationMs;
    readonly waitMs: DurationMs;
  }): Promise<
    | { readonly kind: "held"; readonly fencing: number }
    | { readonly kind: "waiting"; readonly position: number }
    | { readonly kind: "timed_out" }
  >;
  abandonLease(request: { readonly name: string; readonly ticket: string }): Promise<void>;
  /** False: the lease is somebody else's now. */
  renewLease(lease: { readonly name: string; readonly fencing: number }): Promise<boolean>;
  releaseLease(lease: { readonly name: string; readonly fencing: number }): Promise<boolean>;
  /** Who holds it, for people, and for how long already; undefined: nobody. */
  leaseHolder(name: string): Promise<{ readonly holder: string; readonly heldMs: DurationMs } | undefined>;
}

type ForwardedSignal = "SIGTERM" | "SIGINT" | "SIGHUP";

export interface RunCommandOptions {
  /** The program and its arguments; there is no shell in between. */
  readonly argv: readonly string[];
  readonly lease?: { readonly name: string; readonly ttlMs: DurationMs; readonly waitMs: DurationMs } | undefined;
  /** Absent: no daemon answers. The command then runs all the same, unless it wants a lease. */
  readonly daemon?: { readonly api: RunCommandApi; readonly host: HostIdentity; readonly self: ProcessIdentity } | undefined;
  readonly table: ProcessTable;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** One line for people, beside the command's own output. */
  readonly say: (line: string) => void;
  /** Returns the way to stop listening. */
  readonly onSignal: (signal: ForwardedSignal, listener: () => void) => () => void;
  /** Whether a terminal sends its interrupts to the command as well; then they are not sent a second time. */
  readonly interactive: boolean;
  readonly newTicket: () => string;
  readonly monoNow: () => number;
  readonly pause?: Pause;
  /** From TERM to KILL, for a command whose lease was lost. Default 5 000. */
  readonly stopGraceMs?: DurationMs;
  /** What the command is given as descriptors 0 to 2. Default: our own. */
  readonly stdio?: "inherit" | "ignore";
}

/** What a shell answers for a program that does not exist, or that it may not run. */
const exitNotFound = 127;
const exitNotRunnable = 126;
const maxHoldMs: DurationMs = hours(24 * 365);
const leasePollMs: DurationMs = seconds(1);
/** A daemon that is stopped, or starts. */
const awayCodes: ReadonlySet<string> = new Set(["daemon_unreachable", "unavailable"]);
/** How often a waiting person is told that we still wait. */
const progressEveryPolls = 30;

/**
 * `wakeful run -- CMD`: runs a command in the foreground as a run that the daemon knows of, and passes its exit code through (128 + n for
 * signal n). With a lease: takes its turn for it, keeps it while the command runs, and gives it back.
 *
 * @throws {WakefulError} `daemon_unreachable`: a lease without a daemon. `conflict`: the lease was not granted in time.
 */
export async function runCommand(options: RunCommandOptions): Promise<number> {
  const { argv, lease, daemon } = options;
  if (argv.length === 0) throw new WakefulError("bad_request", "Name the command to run: wakeful run -- make test");
  if (daemon === undefined) {
    if (lease !== undefined) {
      throw new WakefulError(
        "daemon_unreachable",
        `The lease "${lease.name}" cannot be held without a daemon: start it with \`wakeful up\`.`,
      );
    }
    return await new Foreground(options, inheritedEnvironment(options.environment)).run(() => Promise.resolve());
  }
  const { api, self } = daemon;
  const run = await api.open({ argv, cwd: options.cwd, process: self });
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
  #leaseRenewing: NodeJS.Timeout | undefined;
  #fencing: number | undefined;
  #command: Foreground | undefined;
  /** The command's process, until the daemon has heard of it. */
  #unrecorded: ProcessIdentity | undefined;
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
  }

  async toItsEnd(): Promise<number> {
    const { renewMs } = this.#run;
    const stopListening = (["SIGINT", "SIGTERM", "SIGHUP"] as const).map((signal) =>
      this.#options.onSignal(signal, () => this.#interrupted.abort(signal)),
    );
    this.#renewing = setInterval(() => this.#renew(), renewMs);
    try {
      await this.#acquireLease();
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
    }
  }

  async #runCommand(): Promise<number> {
    const { environment } = this.#options;
    const { runId, jobId } = this.#run;
    this.#command = new Foreground(this.#options, {
      ...inheritedEnvironment(environment),
      WAKEFUL_RUN_ID: String(runId),
      WAKEFUL_JOB_ID: String(jobId),
      [markerVariable]: formatMarker({ runId, hostId: this.#host.hostId }),
      ...(this.#fencing === undefined ? {} : { WAKEFUL_LEASE_FENCING: String(this.#fencing) }),
    });
    const exitCode = await this.#command.run((pid) => this.#recordCommand(pid));
    // On disk first: whoever comes after us finds it, also when the daemon is away and we are killed next.
    await this.#spoolExit(exitCode);
    await this.#releaseLease();
    try {
      await this.#api.end({ ...this.#ref(), exitCode });
    } catch (thrown) {
      this.#say(
        `the daemon does not answer; how the command ended is kept in ${this.#run.runDir} and recorded when it is back (${messageOf(thrown)})`,
      );
    }
    return exitCode;
  }

  /** The command's own process is what the run lives by: it may outlive us. */
  async #recordCommand(pid: number): Promise<void> {
    const sight = this.#options.table.look(pid);
    if (sight.kind !== "seen") return;
    const process = identityOf(this.#host, sight.row);
    try {
      // Beside the command, which may do with its folder what it likes: a file that is replaced holds nobody, whatever lies there.
      const { command } = runFiles(this.#run.runDir);
      await replaceFile({ path: command, draft: `${command}.new`, text: identityRecord(this.#run.runId, process) });
      this.#unrecorded = process;
      await this.#api.recordCommand({ ...this.#ref(), process });
      this.#unrecorded = undefined;
    } catch (thrown) {
      // The file alone tells a later judge as well; the command does not wait for either. Said again with the next renewal.
      this.#say(`the command's process could not be recorded: ${messageOf(thrown)}`);
    }
  }

  async #spoolExit(exitCode: number): Promise<void> {
    const { runId, runDir } = this.#run;
    const files = runFiles(runDir);
    const record = `${runId} ${exitCode} ${this.#self.bootId}\n`;
    try {
      await replaceFile({ path: files.exit, draft: files.exitDraft, text: record.padEnd(exitRecordBytes, " ") });
    } catch (thrown) {
      this.#say(`how the command ended could not be written to ${runDir}: ${messageOf(thrown)}`);
    }
  }

  async #acquireLease(): Promise<void> {
    const { lease, newTicket, monoNow, pause = timerPause } = this.#options;
    if (lease === undefined) return;
    const { name, ttlMs, waitMs } = lease;
    const ticket = newTicket();
    const request = { name, ticket, runId: this.#run.runId, ttlMs, maxHoldMs };
    const giveUpAt = monoNow() + waitMs;
    const { signal } = this.#interrupted;
    try {
      for (let polls = 0; !signal.aborted; polls++) {
        const leftMs = Math.max(0, Math.ceil(giveUpAt - monoNow()));
        const answer = await this.#askForLease({ ...request, waitMs: leftMs });
        if (answer.kind === "held") {
          this.#holdLease(name, answer.fencing, ttlMs);
          return;
        }
        if (answer.kind === "timed_out" || leftMs === 0) throw await this.#refused(name, waitMs);
        if (answer.kind === "waiting" && polls % progressEveryPolls === 0)
          this.#say(`waiting for the lease "${name}": ${await this.#holderText(name)}, place ${answer.position} in line`);
        await pause(leasePollMs, signal);
      }
      await this.#api.abandonLease({ name, ticket });
    } catch (thrown) {
      await this.#api.abandonLease({ name, ticket }).catch(() => undefined);
      throw thrown;
    }
  }

  /** A daemon that is away for a moment knows our ticket, and with it our place in line, when it is back. */
  async #askForLease(request: Parameters<RunCommandApi["acquireLease"]>[0]) {
    try {
      return await this.#api.acquireLease(request);
    } catch (thrown) {
      if (request.waitMs === 0 || !isWakefulError(thrown) || !awayCodes.has(thrown.code)) throw thrown;
      this.#sayOnce(`the daemon does not answer; waiting for it, and for the lease "${request.name}"`);
      return { kind: "unanswered" } as const;
    }
  }

  async #refused(name: string, waitMs: DurationMs): Promise<WakefulError> {
    const waited = waitMs === 0 ? "" : ` after ${formatDuration(waitMs)}`;
    return new WakefulError("conflict", `The lease "${name}" was not granted${waited}: ${await this.#holderText(name)}.`, {
      details: { lease: name },
    });
  }

  async #holderText(name: string): Promise<string> {
    const held = await this.#api.leaseHolder(name).catch(() => undefined);
    return held === undefined
      ? "others are before us"
      : `${held.holder} has held it for ${formatDuration(Math.round(held.heldMs / 1000) * 1000)}`;
  }

  #holdLease(name: string, fencing: number, ttlMs: DurationMs): void {
    this.#fencing = fencing;
    this.#leaseRenewing = setInterval(
      () => {
        this.#api.renewLease({ name, fencing }).then(
          (ours) => {
            if (!ours) this.#leaseLost(`the lease "${name}" is somebody else's now`);
          },
          // The daemon, once it is back, sees that we live, and takes the lease from no living holder.
          (thrown: unknown) => this.#sayOnce(`the lease "${name}" could not be renewed: ${messageOf(thrown)}`),
        );
      },
      Math.max(1, Math.floor(ttlMs / 3)),
    );
  }

  async #releaseLease(): Promise<void> {
    clearInterval(this.#leaseRenewing);
    const { lease } = this.#options;
    if (lease === undefined || this.#fencing === undefined) return;
    // With the end of the run it is free anyway, only later.
    await this.#api.releaseLease({ name: lease.name, fencing: this.#fencing }).catch(() => undefined);
  }

  #renew(): void {
    this.#api.renew(this.#ref()).then(
      ({ lost }) => {
        if (lost === null) {
          this.#recordAgain();
          return;
        }
        clearInterval(this.#renewing);
        if (this.#fencing !== undefined) this.#leaseLost(`the run, which holds the lease, was ended: ${lost}`);
        else this.#sayOnce(`the daemon no longer follows this run (${lost}); the command goes on`);
      },
      (thrown: unknown) => this.#sayOnce(`the daemon does not answer: ${messageOf(thrown)}; the command goes on`),
    );
  }

  /** What the daemon missed while it was away: a lease is kept for a command that the store knows to live. */
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

  /** Whoever holds the lease now relies on our being gone. */
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
    await this.#releaseLease();
    // Without an answer the run is found by its dead process.
    await this.#api.abandon({ ...this.#ref(), reason }).catch(() => undefined);
  }

  #ref(): RunSessionRef {
    const { workerId, runId, ownerEpoch } = this.#run;
    return { workerId, runId, ownerEpoch };
  }

  #stopTimers(): void {
    clearInterval(this.#renewing);
    clearInterval(this.#leaseRenewing);
  }

  #say(line: string): void {
    this.#options.say(`wakeful: ${line}`);
  }

  #sayOnce(line: string): void {
    if (this.#told.has(line)) return;
    this.#told.add(line);
    this.#say(line);
  }
}

/** The command itself: our terminal is its terminal, and signals that are meant for it reach it. */
class Foreground {
  readonly #options: RunCommandOptions;
  readonly #env: Readonly<Record<string, string>>;
  #child: ChildProcess | undefined;
  #kill: NodeJS.Timeout | undefined;

  constructor(options: RunCommandOptions, env: Readonly<Record<string, string>>) {
    this.#options = options;
    this.#env = env;
  }

  /** Resolves to the exit code once the command has ended and `onStarted` is through. */
  async run(onStarted: (pid: number) => Promise<void>): Promise<number> {
    const { argv, cwd, stdio = "inherit", onSignal, interactive, say } = this.#options;
    const [program = "", ...args] = argv;
    const stopListening = (["SIGINT", "SIGTERM", "SIGHUP"] as const).map((signal) =>
      onSignal(signal, () => {
        // A terminal has told everybody in front of it already; twice means "now!" to many programs.
        if (!(interactive && signal === "SIGINT")) this.#child?.kill(signal);
      }),
    );
    let recorded: Promise<void> | undefined;
    try {
      return await new Promise<number>((resolve) => {
        const child = spawn(program, args, { cwd, env: this.#env, stdio });
        this.#child = child;
        // In this turn: its parent has not asked for its exit status yet, so even a command that has ended is still to be seen.
        if (child.pid !== undefined) recorded = onStarted(child.pid);
        child.once("error", (thrown) => {
          if (child.pid !== undefined) return;
          say(`wakeful: ${program}: ${isMissing(thrown) ? "command not found" : messageOf(thrown)}`);
          resolve(isMissing(thrown) ? exitNotFound : exitNotRunnable);
        });
        child.once("exit", (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
      });
    } finally {
      clearTimeout(this.#kill);
      for (const stop of stopListening) stop();
      await recorded;
    }
  }

  stop(graceMs: DurationMs): void {
    this.#child?.kill("SIGTERM");
    this.#kill = setTimeout(() => this.#child?.kill("SIGKILL"), graceMs);
  }
}

const isMissing = (thrown: unknown): boolean =>
  thrown instanceof Error && !isWakefulError(thrown) && "code" in thrown && thrown.code === "ENOENT";

/** All that we were given, but the variables of a run that we are ourselves a part of: ours is another one. */
function inheritedEnvironment(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  if (ownMarker(env) !== undefined) return cleanEnvironment(env);
  return Object.fromEntries(Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined));
}
