import { storeClosed } from "../port/errors.ts";
import type { StoreHint } from "../port/store.ts";
import { partOf, type StoreTurns } from "../port/turns.ts";
import { type PostgresTarget, shortAnswers } from "./client-config.ts";
import { isReadOnly, mayRunAgain, postgresFailure } from "./failures.ts";
import { type BoundStatement, RolledBack, type Rows, TurnConnection } from "./turn-connection.ts";

/** Statements of one kind for the inputs of many callers, all known before the first is sent, and how their rows become answers. */
export interface LaneBatch<Output> {
  readonly statements: readonly BoundStatement[];
  readonly hints?: readonly StoreHint[] | undefined;
  /** Called after the commit, with the rows of each statement. Answers in the order of the inputs. */
  answers(rows: readonly Rows[]): readonly Output[];
}

export interface LanePhase<Input, Output> {
  batch(inputs: readonly Input[]): LaneBatch<Output>;
  /** How much of a turn's room this input takes; 1 when absent. */
  weigh?(input: Input): number;
}

/**
 * What every hot connection plans with. The tables change so fast that statistics lag, and plans by them flip to scans that grow with
 * history. These settings keep each statement on its index.
 */
const plannerSettings = {
  enable_seqscan: "off",
  enable_hashjoin: "off",
  enable_mergejoin: "off",
  enable_bitmapscan: "off",
  jit: "off",
  plan_cache_mode: "force_generic_plan",
};

/** How the connections of the hot path are set. */
export function hotTarget(target: PostgresTarget): PostgresTarget {
  return { ...target, settings: { ...target.settings, ...plannerSettings } };
}

/** Two lanes overlap the server's work with this process's; a third gained nothing on two cores. Two turns of 50 were slower than one of 100. */
export const laneTurns: StoreTurns = { atOnce: 2, rowsMin: 100, rowsMax: 250 };
const laneCount = laneTurns.atOnce;
const triesMax = 4;

interface Member {
  readonly input: unknown;
  readonly weight: number;
  readonly resolve: (output: never) => void;
  readonly reject: (reason: unknown) => void;
}

interface Queue {
  readonly phase: LanePhase<unknown, unknown>;
  waiting: Member[];
  /** Of all that wait. */
  weight: number;
}

interface Taken {
  readonly queue: Queue;
  readonly members: readonly Member[];
  readonly batch: LaneBatch<unknown>;
}

/**
 * Concurrent callers share transactions on two connections. A turn is sent whole, without waiting for answers between its statements; while
 * one lane's turn is at the server, what callers ask for next gathers for the other.
 */
export class Lanes {
  readonly #target: PostgresTarget;
  readonly #store: string;
  readonly #hint: (hints: Iterable<StoreHint>) => void;
  readonly #queues: Queue[] = [];
  readonly #connections: (TurnConnection | undefined)[] = Array.from({ length: laneCount }, () => undefined);
  readonly #busy: boolean[] = Array.from({ length: laneCount }, () => false);
  #scheduled = false;
  #closed = false;
  #idle: (() => void) | undefined;

  constructor(options: { readonly target: PostgresTarget; readonly hint: (hints: Iterable<StoreHint>) => void }) {
    this.#target = shortAnswers(hotTarget(options.target));
    this.#store = options.target.name;
    this.#hint = options.hint;
  }

  addPhase<Input, Output>(phase: LanePhase<Input, Output>): (input: Input) => Promise<Output> {
    const queue: Queue = { phase, waiting: [], weight: 0 };
    this.#queues.push(queue);
    return (input) => {
      if (this.#closed) return Promise.reject(storeClosed());
      return new Promise<Output>((resolve, reject) => {
        const weight = queue.phase.weigh?.(input) ?? 1;
        queue.waiting.push({ input, weight, resolve, reject });
        queue.weight += weight;
        this.#schedule();
      });
    };
  }

  /** Refuses new members, commits those that wait, and ends the connections. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#scheduled || this.#busy.includes(true)) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    }
    await Promise.all(this.#connections.map(async (connection) => await connection?.end()));
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#dispatch);
  }

  readonly #dispatch = (): void => {
    this.#scheduled = false;
    let atOnce = this.#busy.filter((busy) => !busy).length;
    for (let lane = 0; lane < laneCount; lane += 1) {
      if (this.#busy[lane] === true) continue;
      const taken = this.#take({ ...laneTurns, atOnce });
      atOnce -= 1;
      if (taken.length === 0) break;
      this.#busy[lane] = true;
      this.#turn(lane, taken).then(
        () => this.#afterTurn(lane),
        () => this.#afterTurn(lane),
      );
    }
  };

  #afterTurn(lane: number): void {
    this.#busy[lane] = false;
    if (this.#queues.some((queue) => queue.waiting.length > 0)) this.#schedule();
    else if (!this.#scheduled && !this.#busy.includes(true)) this.#idle?.();
  }

  /** A share of what waits of each kind, of whole members: at least one, and no further one that would make a turn too large. */
  #take(turns: StoreTurns): readonly Taken[] {
    const taken: Taken[] = [];
    for (const queue of this.#queues) {
      const { waiting } = queue;
      const share = partOf(queue.weight, turns);
      let [count, weight] = [0, 0];
      for (const member of waiting) {
        if (count > 0 && weight + member.weight > share) break;
        count += 1;
        weight += member.weight;
      }
      if (count === 0) continue;
      const members = waiting.slice(0, count);
      queue.waiting = waiting.slice(count);
      queue.weight -= weight;
      try {
        taken.push({ queue, members, batch: queue.phase.batch(members.map((member) => member.input)) });
      } catch (thrown) {
        for (const member of members) member.reject(thrown);
      }
    }
    return taken;
  }

  async #turn(lane: number, taken: readonly Taken[]): Promise<void> {
    try {
      const rows = await this.#commit(
        lane,
        taken.flatMap(({ batch }) => batch.statements),
      );
      let from = 0;
      for (const { members, batch } of taken) {
        const outputs = batch.answers(rows.slice(from, from + batch.statements.length));
        from += batch.statements.length;
        for (let index = 0; index < members.length; index += 1) members[index]?.resolve(outputs[index] as never);
      }
      this.#tell(taken.map(({ batch }) => batch));
    } catch (thrown) {
      const members = taken.flatMap(({ queue, members: ofQueue }) => ofQueue.map((member) => ({ queue, member })));
      // After a broken connection nobody knows whether the commit arrived: callers repeat their verbs by id.
      if (!(thrown instanceof RolledBack)) for (const { member } of members) member.reject(thrown);
      else for (const { queue, member } of members) await this.#single(lane, queue, member);
    }
  }

  /** One bad member must not fail the others: each is tried alone, and gets its own error. */
  async #single(lane: number, queue: Queue, member: Member): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      try {
        const batch = queue.phase.batch([member.input]);
        const [output] = batch.answers(await this.#commit(lane, batch.statements));
        member.resolve(output as never);
        this.#tell([batch]);
        return;
      } catch (thrown) {
        const cause = thrown instanceof RolledBack ? thrown.cause : thrown;
        if (thrown instanceof RolledBack && tries < triesMax && mayRunAgain(cause)) continue;
        member.reject(postgresFailure(cause, this.#store));
        return;
      }
    }
  }

  #tell(batches: readonly LaneBatch<unknown>[]): void {
    const hints = new Set(batches.flatMap((batch) => batch.hints ?? []));
    if (hints.size > 0) this.#hint(hints);
  }

  /** @throws {RolledBack} with the server's error, or what broke the connection. */
  async #commit(lane: number, statements: readonly BoundStatement[]): Promise<readonly Rows[]> {
    try {
      const connection = await this.#connection(lane);
      return await connection.run(statements);
    } catch (thrown) {
      if (!(thrown instanceof RolledBack)) throw postgresFailure(thrown, this.#store);
      if (!isReadOnly(thrown.cause)) throw thrown;
      // The server of this connection has become a standby. It stays one, and the next connection leads to the one that writes.
      this.#connections[lane]?.drop();
      throw postgresFailure(thrown.cause, this.#store);
    }
  }

  async #connection(lane: number): Promise<TurnConnection> {
    const known = this.#connections[lane];
    if (known?.gone === false) return known;
    const opened = await TurnConnection.open(this.#target);
    this.#connections[lane] = opened;
    return opened;
  }
}
