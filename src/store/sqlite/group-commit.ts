import { storeClosed } from "../port/errors.ts";
import type { StoreHint } from "../port/store.ts";
import type { StoreTurns } from "../port/turns.ts";
import type { SqliteConnection } from "./connection.ts";

/** One transaction at a time, which blocks the event loop: two halves of it would take longer than the whole. */
export const groupTurns: StoreTurns = { atOnce: 1, rowsMin: 1000, rowsMax: 1000 };

/**
 * One kind of hot write. `apply` runs inside the transaction, answers each input in order, and keeps nothing in memory that a rollback
 * makes wrong. After a failed group it runs again for each input alone.
 */
export interface GroupPhase<Input, Output> {
  apply(inputs: readonly Input[], hints: Set<StoreHint>): readonly Output[];
  /** How much of a transaction's room this input takes; 1 when absent. */
  weigh?(input: Input): number;
}

export interface GroupCommitOptions {
  readonly connection: SqliteConnection;
  readonly hint: (hints: Iterable<StoreHint>) => void;
  /** Runs with the connection held, before the transaction begins. */
  readonly prepare?: (() => void) | undefined;
  /** Rows after which a transaction takes no more members: it blocks the event loop while it lasts. Default {@link groupTurns}. */
  readonly weightMax?: number | undefined;
}

interface Member {
  readonly input: unknown;
  readonly weight: number;
  readonly resolve: (output: never) => void;
  readonly reject: (reason: unknown) => void;
}

interface PhaseQueue {
  readonly phase: GroupPhase<unknown, unknown>;
  waiting: Member[];
}

interface Taken {
  readonly queue: PhaseQueue;
  readonly members: readonly Member[];
  readonly inputs: readonly unknown[];
}

/**
 * Concurrent callers share one transaction per turn of the event loop: a commit costs a flush, however many share it. Phases apply in the
 * order of their adding. Callers are answered after the commit (decision 0003).
 */
export class GroupCommit {
  readonly #connection: SqliteConnection;
  readonly #hint: (hints: Iterable<StoreHint>) => void;
  readonly #prepare: (() => void) | undefined;
  readonly #weightMax: number;
  readonly #queues: PhaseQueue[] = [];
  #scheduled = false;
  #closed = false;
  #idle: (() => void) | undefined;

  constructor(options: GroupCommitOptions) {
    this.#connection = options.connection;
    this.#hint = options.hint;
    this.#prepare = options.prepare;
    this.#weightMax = options.weightMax ?? groupTurns.rowsMax;
  }

  /** Answers the way to join a group: one more input of this phase. */
  addPhase<Input, Output>(phase: GroupPhase<Input, Output>): (input: Input) => Promise<Output> {
    const queue: PhaseQueue = { phase, waiting: [] };
    this.#queues.push(queue);
    return (input) => this.#join<Output>(queue, input);
  }

  /** Refuses new members, and resolves when the last group has been committed. */
  async close(): Promise<void> {
    this.#closed = true;
    if (!this.#scheduled) return;
    await new Promise<void>((resolve) => {
      this.#idle = resolve;
    });
  }

  #join<Output>(queue: PhaseQueue, input: unknown): Promise<Output> {
    if (this.#closed) return Promise.reject(storeClosed());
    return new Promise<Output>((resolve, reject) => {
      queue.waiting.push({ input, weight: queue.phase.weigh?.(input) ?? 1, resolve, reject });
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#turn);
  }

  readonly #turn = (): void => {
    // A failure of the connection itself reaches the members below; nothing else can reject here.
    void this.#connection.exclusive(() => this.#commitGroup()).then(this.#afterTurn, this.#refuseWaiting);
  };

  readonly #afterTurn = (): void => {
    this.#scheduled = false;
    if (this.#queues.some((queue) => queue.waiting.length > 0)) this.#schedule();
    else this.#idle?.();
  };

  readonly #refuseWaiting = (reason: unknown): void => {
    for (const queue of this.#queues) {
      for (const member of queue.waiting.splice(0)) member.reject(reason);
    }
    this.#afterTurn();
  };

  #commitGroup(): void {
    this.#prepare?.();
    const taken = this.#take();
    const outputs = this.#applied(taken);
    if (outputs === undefined) {
      for (const { queue, members } of taken) {
        for (const member of members) this.#commitSingly(queue, member);
      }
      return;
    }
    for (let group = 0; group < taken.length; group += 1) {
      const members = taken[group]?.members ?? [];
      for (let index = 0; index < members.length; index += 1) members[index]?.resolve(outputs[group]?.[index] as never);
    }
  }

  /** The members of this group, queue by queue. At least one of each queue that has any, so that none starves behind another. */
  #take(): readonly Taken[] {
    const taken: Taken[] = [];
    let room = this.#weightMax;
    for (const queue of this.#queues) {
      const { waiting } = queue;
      if (waiting.length === 0) continue;
      let count = 0;
      do {
        room -= waiting[count]?.weight ?? 0;
        count += 1;
      } while (count < waiting.length && room > 0);
      const members = count === waiting.length ? waiting : waiting.slice(0, count);
      queue.waiting = count === waiting.length ? [] : waiting.slice(count);
      taken.push({ queue, members, inputs: members.map((member) => member.input) });
    }
    return taken;
  }

  /** Undefined: rolled back, and nobody has been answered. */
  #applied(taken: readonly Taken[]): readonly (readonly unknown[])[] | undefined {
    const hints = new Set<StoreHint>();
    try {
      const outputs = this.#connection.immediate(() => taken.map(({ queue, inputs }) => queue.phase.apply(inputs, hints)));
      if (hints.size > 0) this.#hint(hints);
      return outputs;
    } catch {
      // One bad member must not fail the others: each is tried alone next, and gets its own error then.
      return undefined;
    }
  }

  #commitSingly(queue: PhaseQueue, member: Member): void {
    const hints = new Set<StoreHint>();
    try {
      const [output] = this.#connection.immediate(() => queue.phase.apply([member.input], hints));
      if (hints.size > 0) this.#hint(hints);
      member.resolve(output as never);
    } catch (thrown) {
      member.reject(thrown);
    }
  }
}
