import type { DurationMs } from "../../domain/time.ts";
import type { LifePipe } from "../../liveness/evidence.ts";
import type { HostClock } from "../../runtime/clock.ts";
import { type Pause, timerPause } from "../../runtime/pause.ts";
import type { ProcessIdentity } from "../probe/identity.ts";
import { type OpenFiles, systemOpenFiles } from "../probe/open-files.ts";
import { identityOf } from "../probe/own-identity.ts";
import { isFrozen, isZombie, type ProcessRow } from "../probe/process-stat.ts";
import { probeLifePipe } from "../run-folder/life-pipe.ts";
import { runFiles } from "../run-folder/run-files.ts";
import { HiddenSearch } from "./hidden-search.ts";
import { hereOnly, livingMembers, type RunTree } from "./strays.ts";
import { type Remains, remainsText } from "./survivors.ts";

export interface StopTreeOptions extends RunTree {
  readonly clock: Pick<HostClock, "mono">;
  /** Default: a timer of the event loop. */
  readonly pause?: Pause;
  /** From TERM to KILL. Default 5000; 0 kills at once. */
  readonly stopGraceMs?: DurationMs;
  /** Once it is aborted the grace is over: somebody is in a hurry. */
  readonly hurry?: AbortSignal;
  /** From KILL to giving up. Default 2000. */
  readonly killGraceMs?: DurationMs;
  /** With it the life pipe is asked too, at the end: while it is held the run is not stopped, whatever the pids say. */
  readonly runDir?: string;
  /** Where the pipe's holders are looked for when nothing else of the run is to be seen. Default: this system's. */
  readonly files?: OpenFiles;
  /** Stops the waiting, not what was signalled already; the answer then is `stopped: false` unless all were gone. */
  readonly signal?: AbortSignal;
}

/** Why a run may be released: no process of it was left to be seen, and its life pipe is not held. */
export interface StopProof {
  /** Everything that was seen to belong to the run, all of it gone. */
  readonly gone: readonly ProcessIdentity[];
  readonly signals: readonly SentSignal[];
  /** `not_asked` without a run directory. */
  readonly lifePipe: LifePipe | "not_asked";
  readonly tookMs: DurationMs;
}

export type StopResult =
  | { readonly stopped: true; readonly proof: StopProof }
  | {
      readonly stopped: false;
      /** May be empty: then the life pipe is held by something that may not be seen, or is not of the run. */
      readonly survivors: readonly ProcessIdentity[];
      readonly signals: readonly SentSignal[];
      readonly lifePipe: LifePipe | "not_asked";
      readonly tookMs: DurationMs;
      /** What is left, for people; see `remainsText`. */
      readonly remains: string;
    };

const pollMsMax = 50;

/**
 * Stops everything of one run on this host: TERM (a frozen process: TERM, then CONT), after `stopGraceMs` KILL, until no member is left.
 * What holds the life pipe when nothing else is to be seen is searched for in the open files of all processes, and stopped likewise.
 * Never signals the wrapper, which records the exit (but lets a frozen one go on once all others are gone), nor what is shielded. May be
 * called again, also for a run that has already ended (then it stops its strays). Never throws for what processes do; a process that may
 * not be signalled is a survivor.
 */
export async function stopTree(options: StopTreeOptions): Promise<StopResult> {
  const { clock, pause = timerPause, stopGraceMs = 5000, killGraceMs = 2000, runDir, files = systemOpenFiles(), signal, hurry } = options;
  const signaller = new TreeSignaller(options);
  const hidden = runDir === undefined ? undefined : new HiddenSearch(options, { runDir, files, mono: () => clock.mono() });
  const beganAt = clock.mono();
  const tookMs = (): DurationMs => Math.max(0, Math.round(clock.mono() - beganAt));
  let termAfterMs: DurationMs = 0;
  let termSent = false;
  let foundHidden = false;
  let pollMs = 2;
  let lifePipe: LifePipe | "not_asked" = "not_asked";
  let left: readonly ProcessRow[];

  for (;;) {
    left = signaller.members();
    if (left.length > 0 && !termSent) {
      // Graces count from TERM itself: a slow search or a stalled machine before it costs no process its TERM.
      termAfterMs = tookMs();
      termSent = true;
    }
    const killing = hurry?.aborted === true || tookMs() - termAfterMs >= stopGraceMs;
    if (left.length === 0) {
      if (runDir !== undefined) lifePipe = await probeLifePipe(runDir);
      // Held with nobody to be seen: most often the wrapper, which is writing the exit record at this moment.
      if (lifePipe !== "held") break;
      const wrapper = signaller.wrapper();
      // Frozen by whoever froze its command, it would hold the pipe, and with it the job, until a person came.
      if (wrapper !== undefined) signaller.wakeFrozen([wrapper]);
      else if (signaller.addHolders(hidden?.look()?.holders.map(({ process }) => process) ?? []) && !foundHidden) {
        foundHidden = true;
        termAfterMs = tookMs();
        termSent = false;
      }
    } else {
      signaller.signalAll(left, killing ? "SIGKILL" : "SIGTERM");
      if (!killing) signaller.wakeFrozen(left);
    }
    if (tookMs() - termAfterMs >= stopGraceMs + killGraceMs || signal?.aborted === true) break;
    await pause(pollMs, signal);
    pollMs = Math.min(pollMs * 2, pollMsMax);
  }

  const { sent: signals, seen: gone } = signaller;
  if (left.length === 0 && lifePipe !== "held") return { stopped: true, proof: { gone, signals, lifePipe, tookMs: tookMs() } };
  const wrapper = left.length === 0 ? signaller.wrapper() : undefined;
  const survivors = (wrapper === undefined ? left : [wrapper]).map((row) => identityOf(options.host, row));
  // Told as it is at the end, because what an earlier search has found may have been stopped since.
  const pipe = survivors.length === 0 && lifePipe === "held" && signal?.aborted !== true ? hidden?.lookNow() : undefined;
  const remains: Remains = {
    survivors: survivors.map((process) => ({ process, command: files.commandLineOf(process.pid) })),
    heldPipe: runDir !== undefined && lifePipe === "held" ? runFiles(runDir).lifePipe : undefined,
    pipe,
  };
  return { stopped: false, survivors, signals, lifePipe, tookMs: tookMs(), remains: remainsText(remains) };
}

interface SentSignal {
  readonly process: ProcessIdentity;
  readonly signal: NodeJS.Signals;
  readonly outcome: "sent" | "denied";
}

const keyOf = (row: { readonly pid: number; readonly startTime: string }): string => `${row.pid}/${row.startTime}`;

/** Signals the members of one run, each at most once per signal, its identity checked right before. */
class TreeSignaller {
  readonly sent: SentSignal[] = [];
  readonly #seen = new Map<string, ProcessIdentity>();
  readonly #done = new Set<string>();
  #holders: readonly ProcessIdentity[] = [];
  readonly #tree: RunTree;

  constructor(tree: RunTree) {
    this.#tree = tree;
    for (const identity of tree.seen ?? []) this.#seen.set(keyOf(identity), identity);
  }

  get seen(): readonly ProcessIdentity[] {
    return [...this.#seen.values()];
  }

  /** The members now. Those seen earlier stay members when their parents go. */
  members(): readonly ProcessRow[] {
    const rows = livingMembers({ ...this.#tree, seen: this.seen, holders: this.#holders });
    for (const row of rows) this.#seen.set(keyOf(row), identityOf(this.#tree.host, row));
    return rows;
  }

  /** From now on these count as members too, unless another run or a shield claims them. True: there is one that does count. */
  addHolders(holders: readonly ProcessIdentity[]): boolean {
    if (holders.length === 0) return false;
    this.#holders = holders;
    return this.members().length > 0;
  }

  /** The command's group in one call where it is the command's alone, so that a fork in this instant is hit too; the rest one by one. */
  signalAll(rows: readonly ProcessRow[], signal: NodeJS.Signals): void {
    const fresh = rows.filter((row) => !this.#done.has(`${signal} ${keyOf(row)}`));
    const group = this.#commandGroup(fresh);
    const leader = group[0];
    if (leader !== undefined && this.#isStill(leader)) {
      const outcome = this.#tree.table.signal(-leader.groupId, signal);
      if (outcome === "sent") for (const row of group) this.#note(row, signal, "sent");
    }
    for (const row of fresh) {
      if (this.#done.has(`${signal} ${keyOf(row)}`) || !this.#isStill(row)) continue;
      const outcome = this.#tree.table.signal(row.pid, signal);
      if (outcome !== "absent") this.#note(row, signal, outcome);
    }
  }

  /** Wakes what is frozen, so that it can act on the TERM it was sent. Repeated: a process may stop itself at any time. */
  wakeFrozen(rows: readonly ProcessRow[]): void {
    for (const row of rows) {
      if (!isFrozen(row) || !this.#isStill(row)) continue;
      const outcome = this.#tree.table.signal(row.pid, "SIGCONT");
      if (outcome !== "absent") this.sent.push({ process: identityOf(this.#tree.host, row), signal: "SIGCONT", outcome });
    }
  }

  /** The wrapper, while it lives. */
  wrapper(): ProcessRow | undefined {
    const { wrapper, host, table } = this.#tree;
    if (wrapper === undefined || hereOnly(host, wrapper) === undefined) return undefined;
    const sight = table.look(wrapper.pid);
    return sight.kind === "seen" && sight.row.startTime === wrapper.startTime && !isZombie(sight.row) ? sight.row : undefined;
  }

  /** The members of the command's own process group, its leader first; empty when somebody else is in that group. */
  #commandGroup(rows: readonly ProcessRow[]): readonly ProcessRow[] {
    const { command, table } = this.#tree;
    const leader = rows.find((row) => row.pid === command?.pid && row.startTime === command.startTime);
    if (leader === undefined || leader.groupId !== leader.pid) return [];
    const inGroup = rows.filter((row) => row.groupId === leader.groupId);
    const ours = new Set(inGroup.map(keyOf));
    const strangers = table.list().some((row) => row.groupId === leader.groupId && !isZombie(row) && !ours.has(keyOf(row)));
    return strangers ? [] : [leader, ...inGroup.filter((row) => row !== leader)];
  }

  #isStill(row: ProcessRow): boolean {
    const sight = this.#tree.table.look(row.pid);
    return sight.kind === "seen" && sight.row.startTime === row.startTime;
  }

  #note(row: ProcessRow, signal: NodeJS.Signals, outcome: "sent" | "denied"): void {
    this.#done.add(`${signal} ${keyOf(row)}`);
    this.sent.push({ process: identityOf(this.#tree.host, row), signal, outcome });
  }
}
