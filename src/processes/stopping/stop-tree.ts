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

export interface StopTreeOptions {
  readonly clock: Pick<HostClock, "mono">;
  /** Default: a timer of the event loop. */
  readonly pause?: Pause;
  /** From TERM to KILL. Default 5000; 0 kills at once. */
  readonly stopGraceMs?: DurationMs;
  /** Its abort ends the grace: KILL follows at once. */
  readonly hurry?: AbortSignal;
  /** From KILL to giving up. Default 2000. */
  readonly killGraceMs?: DurationMs;
  /** When set, the life pipe is probed at the end. While it is held the run is not stopped, whatever the pids say. */
  readonly runDir?: string;
  /** Where the pipe's holders are searched when nothing else of the run is seen. Default: this system's. */
  readonly files?: OpenFiles;
  /** Its abort stops the waiting, not what was signalled. The answer is then `stopped: false` unless all were gone. */
  readonly signal?: AbortSignal;
}

/** Why a run may be released: none of its processes is seen, and its life pipe is not held. */
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
      /** Also what may not be signalled. Empty: the pipe is held by something that may not be seen or is not of the run. */
      readonly survivors: readonly ProcessIdentity[];
      readonly signals: readonly SentSignal[];
      readonly lifePipe: LifePipe | "not_asked";
      readonly tookMs: DurationMs;
      /** What is left, for people; see `remainsText`. */
      readonly remains: string;
    };

const pollMsMax = 50;

/**
 * Stops everything of one run on this host (docs/architecture.md, Flip, stop, release). Never stops the wrapper (a frozen one is woken once
 * all others are gone), nor signals what is shielded. Repeatable; never throws for what processes do.
 */
export async function stopTree(tree: RunTree, options: StopTreeOptions): Promise<StopResult> {
  const { clock, pause = timerPause, stopGraceMs = 5000, killGraceMs = 2000, runDir, files = systemOpenFiles(), signal, hurry } = options;
  const signaller = new TreeSignaller(tree);
  const hidden = runDir === undefined ? undefined : new HiddenSearch(tree, { runDir, files, mono: () => clock.mono() });
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
      // Held with no process seen: usually the wrapper, which is writing the exit record.
      if (lifePipe !== "held") break;
      const wrapper = signaller.wrapper();
      // A wrapper that was frozen with its command would hold the pipe, and so the job, until a person came.
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
  const survivors = (wrapper === undefined ? left : [wrapper]).map((row) => identityOf(tree.host, row));
  // Looked up at the end, because what an earlier search found may have been stopped since.
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

/** Signals the members of one run, after checking the identity of each. TERM and KILL go to each at most once. */
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

  /** The present members. Those seen earlier stay members when their parents end. */
  members(): readonly ProcessRow[] {
    const rows = livingMembers({ ...this.#tree, seen: this.seen, holders: this.#holders });
    for (const row of rows) this.#seen.set(keyOf(row), identityOf(this.#tree.host, row));
    return rows;
  }

  /** From now on these count as members, unless another run or a shield claims them. True: at least one counts. */
  addHolders(holders: readonly ProcessIdentity[]): boolean {
    if (holders.length === 0) return false;
    this.#holders = holders;
    return this.members().length > 0;
  }

  /** Signals the command's own group in one call, so that a fork in this instant is hit too; the rest one by one. */
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

  /** Wakes frozen processes, so that they can act on TERM. Repeated, because a process may stop itself at any time. */
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

  /** The members of the command's own process group, leader first; empty when others are in that group. */
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
