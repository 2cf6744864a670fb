import type { ProcessIdentity } from "../probe/identity.ts";
import { identityOf } from "../probe/own-identity.ts";
import { isFrozen, isZombie, type ProcessRow } from "../probe/process-stat.ts";
import { hereOnly, livingMembers, type RunTree } from "./strays.ts";

export interface SentSignal {
  readonly process: ProcessIdentity;
  readonly signal: NodeJS.Signals;
  readonly outcome: "sent" | "denied";
}

const keyOf = (row: { readonly pid: number; readonly startTime: string }): string => `${row.pid}/${row.startTime}`;

/** Signals the members of one run, each at most once per signal, its identity checked right before. */
export class TreeSignaller {
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
