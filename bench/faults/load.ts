import { setTimeout as pause } from "node:timers/promises";
import { messageOf } from "../../src/domain/errors.ts";
import { api } from "../../src/protocol/api/index.ts";
import type { Client } from "../../src/protocol/client.ts";
import type { Chance } from "./chance.ts";
import type { Accepted } from "./invariants.ts";

/** One thing that is handed in: again and again under the same name, until a daemon accepts it. */
export interface Submission {
  readonly kind: "task" | "item";
  readonly name: string;
  readonly ends: Accepted["ends"];
  /** The job's or the item's id once it is accepted. */
  id: number | undefined;
  lastError: string;
}

export interface TaskOffer {
  readonly task: "work" | "hostile" | "poison";
  readonly payload: Readonly<Record<string, unknown>>;
  readonly ends?: Accepted["ends"];
  readonly maxAttempts?: number;
  /** Undefined: a loss spends an attempt. */
  readonly maxLosses?: number | undefined;
  /** Lower first. */
  readonly priority?: number;
}

export interface ItemOffer {
  readonly pipeline: "commands" | "probes" | "hostile" | "secret" | "share" | "hung";
  /** How long each of its commands works. */
  readonly ms: number;
  readonly label?: string;
  readonly ends?: Accepted["ends"];
}

const everyMs = 120;
const againMs = 100;
/** Of one point: more would only make it longer. */
const tasksMax = 24;
const itemsMax = 8;

/** Hands in plain tasks and items, through all daemons in turn, while a point lasts. */
export class Load {
  readonly submissions: Submission[] = [];
  readonly #clients: () => readonly Client[];
  readonly #chance: Chance;
  readonly #prefix: string;
  readonly #offers = new Set<Promise<void>>();
  #feeding: Promise<void> | undefined;
  #fed = true;
  #givenUp = false;
  #count = 0;

  constructor({ clients, chance, prefix }: { clients: () => readonly Client[]; chance: Chance; prefix: string }) {
    this.#clients = clients;
    this.#chance = chance;
    this.#prefix = prefix;
  }

  /** Begins to hand in work, a little at a time. */
  start(): void {
    this.#fed = false;
    this.#feeding = this.#feed();
  }

  /** Hands in nothing more, and waits at most so long until all was accepted. */
  async stop(withinMs: number): Promise<void> {
    this.#fed = true;
    await this.#feeding;
    const all = Promise.all(this.#offers).then(() => undefined);
    await Promise.race([all, pause(withinMs, undefined, { ref: false })]);
    this.#givenUp = true;
    await all;
  }

  task({ task, payload, ends = "done", maxAttempts = 30, maxLosses, priority = 0 }: TaskOffer): Submission {
    const enqueueId = this.#nextName();
    return this.#offer({ kind: "task", name: `${task} ${enqueueId}`, ends }, async (client) => {
      const { jobId } = await client.call(api.enqueueJob, { body: { task, payload, enqueueId, maxAttempts, maxLosses, priority } });
      return jobId;
    });
  }

  item({ pipeline, ms, label, ends = "done" }: ItemOffer): Submission {
    const key = `${this.#nextName()}-${ms}`;
    return this.#offer({ kind: "item", name: `${pipeline}/${key}`, ends }, async (client) => {
      const { item } = await client.call(api.submitItem, { params: { name: pipeline }, body: { key, label } });
      return item.id;
    });
  }

  async #feed(): Promise<void> {
    for (let at = 0; !this.#fed; at += 1) {
      if (this.#handedIn("task") < tasksMax) this.task({ task: "work", payload: { ms: this.#chance.whole(30, 900) }, maxLosses: 30 });
      if (at % 3 === 0 && this.#handedIn("item") < itemsMax) this.item({ pipeline: "commands", ms: this.#chance.whole(50, 900) });
      await pause(everyMs);
    }
  }

  #handedIn(kind: Submission["kind"]): number {
    return this.submissions.filter((submission) => submission.kind === kind).length;
  }

  #nextName(): string {
    this.#count += 1;
    return `${this.#prefix}.${this.#count}`;
  }

  #offer(what: Pick<Submission, "kind" | "name" | "ends">, ask: (client: Client) => Promise<number>): Submission {
    const submission: Submission = { ...what, id: undefined, lastError: "nobody answered" };
    this.submissions.push(submission);
    const offering = this.#untilAccepted(submission, ask).finally(() => this.#offers.delete(offering));
    this.#offers.add(offering);
    return submission;
  }

  async #untilAccepted(submission: Submission, ask: (client: Client) => Promise<number>): Promise<void> {
    for (let turn = this.submissions.length; !this.#givenUp; turn += 1) {
      const clients = this.#clients();
      const client = clients[turn % clients.length];
      try {
        if (client !== undefined) {
          submission.id = await ask(client);
          return;
        }
      } catch (thrown) {
        submission.lastError = messageOf(thrown);
      }
      await pause(againMs);
    }
  }
}
