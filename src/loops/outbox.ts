import type { LoopSwitch } from "../config/loop-settings.ts";
import { messageOf } from "../domain/errors.ts";
import { addMs, type DurationMs, type Instant, minutes, seconds } from "../domain/time.ts";
import { alertOf } from "../notify/alerts.ts";
import type { Deliverer } from "../notify/deliverer.ts";
import type { RaiseAlert, Tell } from "../notify/raise-alert.ts";
import { eachLimit } from "../runtime/each-limit.ts";
import type { Chance } from "../runtime/entropy.ts";
import type { OutboxRow, OutboxStore } from "../store/port/records.ts";
import type { Store } from "../store/port/store.ts";
import type { Loop, TickContext, TickReport } from "./skeleton/loop.ts";
import type { LoopReports } from "./skeleton/loop-reports.ts";
import { type LoopParts, type LoopSpec, ownSwitch } from "./skeleton/loop-spec.ts";

export interface OutboxDeps {
  readonly outbox: Pick<OutboxStore, "due" | "done" | "failed">;
  readonly deliverers: readonly Deliverer[];
  /** Alerts on entries that were given up, unless they are alerts themselves. */
  readonly alert: RaiseAlert;
  readonly random: () => number;
  /** Most deliveries at once. Default 8. */
  readonly concurrency?: number | undefined;
  /** Most entries read in one tick. Default 200. */
  readonly pageSize?: number | undefined;
  /** How long one delivery may take before it counts as failed and the tick continues without it. Default 10 s. */
  readonly deliveryTimeoutMs?: DurationMs | undefined;
}

/** After this many failed deliveries an entry is given up, with an event. */
export const deliveriesMax = 10;
const firstDelayMs: DurationMs = seconds(1);
const longestDelayMs: DurationMs = minutes(5);

/** The wait before an entry that failed `failures` times is tried again: doubling, half of it random. */
export function redeliveryDelayMs(failures: number, random: () => number): DurationMs {
  const delayMs = Math.min(longestDelayMs, firstDelayMs * 2 ** Math.min(20, Math.max(0, failures - 1)));
  return Math.round(delayMs / 2 + (delayMs / 2) * random());
}

/**
 * Delivers what was written with a flip: at least once, backed off, given up after ten attempts with an alert. A delivery that fails,
 * throws or never answers delays neither the others nor the next tick.
 */
export class OutboxLoop implements Loop<"outbox"> {
  readonly name = "outbox";
  readonly #deps: OutboxDeps;
  readonly #concurrency: number;
  readonly #pageSize: number;
  readonly #deliveryTimeoutMs: DurationMs;
  readonly #deliverers: ReadonlyMap<string, Deliverer>;
  /** Deliveries without an answer, also those that a tick has given up waiting for: an entry is never delivered twice at once. */
  readonly #underway = new Set<number>();
  readonly #dead = new DeadLetters();
  #deadLetters = 0;

  constructor(deps: OutboxDeps) {
    const { concurrency = 8, pageSize = 200, deliveryTimeoutMs = 10_000 } = deps;
    this.#deps = deps;
    this.#concurrency = concurrency;
    this.#pageSize = pageSize;
    this.#deliveryTimeoutMs = deliveryTimeoutMs;
    this.#deliverers = new Map(deps.deliverers.map((deliverer) => [deliverer.kind, deliverer]));
  }

  details(): LoopReports["outbox"] {
    return { dead_letters: this.#deadLetters, underway: this.#underway.size };
  }

  async tick(context: TickContext): Promise<TickReport> {
    const due = await this.#deps.outbox.due(this.#pageSize);
    const ready = due.filter((entry) => !this.#underway.has(entry.id));
    if (context.dryRun) {
      return { seen: due.length, settled: 0, lost: 0, failed: 0, would: ready.map((entry) => `deliver ${entry.kind} ${entry.key}`) };
    }
    let delivered = 0;
    let failed = 0;
    await eachLimit(ready, { count: this.#concurrency, signal: context.signal }, async (entry) => {
      try {
        if ((await this.#deliver(entry, context)) === "delivered") delivered += 1;
        else failed += 1;
      } catch (thrown) {
        // The store refused to record the delivery's result: the entry stays due, the others go on.
        failed += 1;
        context.emit("loop.subject_failed", { loop: "outbox", subject: `${entry.kind} ${entry.key}`, message: messageOf(thrown) });
      }
    });
    await this.#dead.tell(this.#deps.alert);
    // A full page means more entries; a page of failures alone would only be read again.
    const more = due.length === this.#pageSize && delivered > 0;
    return { seen: due.length, settled: delivered, lost: 0, failed, nextInMs: more ? 0 : undefined };
  }

  async #deliver(entry: OutboxRow, context: TickContext): Promise<"delivered" | "failed"> {
    try {
      const deliverer = this.#deliverers.get(entry.kind);
      if (deliverer === undefined) throw new Error(`nothing delivers entries of kind ${entry.kind}`);
      this.#underway.add(entry.id);
      const limit = AbortSignal.any([context.signal, AbortSignal.timeout(this.#deliveryTimeoutMs)]);
      const delivery = deliverer.deliver(entry, limit).finally(() => this.#underway.delete(entry.id));
      await untilAborted(delivery, limit, this.#deliveryTimeoutMs);
      await this.#deps.outbox.done({ id: entry.id, revision: entry.revision });
      return "delivered";
    } catch (thrown) {
      // A delivery cut short by a stop has not failed: the entry is due as before.
      if (context.signal.aborted) return "failed";
      await this.#fail(entry, messageOf(thrown), context);
      return "failed";
    }
  }

  async #fail(entry: OutboxRow, error: string, { now, emit }: TickContext): Promise<void> {
    const failures = entry.attempts + 1;
    const givenUp = failures >= deliveriesMax;
    const dueAt: Instant = addMs(now, redeliveryDelayMs(failures, this.#deps.random));
    await this.#deps.outbox.failed({ id: entry.id, error, dueAt, dead: givenUp });
    if (!givenUp) return;
    this.#deadLetters += 1;
    emit("outbox.dead_lettered", { id: entry.id, kind: entry.kind, key: entry.key, error });
    if (entry.kind === "alert") {
      // An alert about an undelivered alert would fail the same way, so an event carries what it said.
      const { cause, title, details } = alertOf(entry);
      emit("alert.raised", { cause, title, details: { ...details, notDelivered: error } });
    } else this.#dead.add(entry, error);
  }
}

/** What one tick has given up, by kind: a receiver that is down fails many at once, for one reason. */
class DeadLetters {
  readonly #kinds = new Map<OutboxRow["kind"], { readonly keys: string[]; readonly error: string }>();

  add({ kind, key }: OutboxRow, error: string): void {
    const same = this.#kinds.get(kind);
    if (same === undefined) this.#kinds.set(kind, { keys: [key], error });
    else same.keys.push(key);
  }

  async tell(alert: RaiseAlert): Promise<void> {
    const told = [...this.#kinds];
    this.#kinds.clear();
    for (const [kind, { keys, error }] of told) {
      await alert({
        cause: `outbox.dead_lettered:${kind}`,
        title:
          `${keys.length === 1 ? `A ${kind} entry was` : `${keys.length} ${kind} entries were`} given up after ${deliveriesMax} deliveries: ${error}. ` +
          "`wakeful doctor` lists them; each is tried again when its subject changes",
        details: { kind, keys: keys.slice(0, 20), count: keys.length, error },
      });
    }
  }
}

/** The delivery's answer, or a rejection once `signal` is aborted. The delivery itself may go on; its answer is then ignored. */
async function untilAborted(delivery: Promise<void>, signal: AbortSignal, timeoutMs: DurationMs): Promise<void> {
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(new Error(`no answer within ${timeoutMs} ms`));
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
  try {
    await Promise.race([delivery, aborted]);
  } finally {
    if (onAbort !== undefined) signal.removeEventListener("abort", onAbort);
  }
}

/** What a process that runs the outbox builds it of. */
export interface OutboxParts extends LoopParts {
  readonly store: Pick<Store, "outbox">;
  /** The deliverers, by kind. */
  readonly deliverers: readonly Deliverer[];
  readonly tell: Tell;
  readonly chance: Pick<Chance, "random">;
  readonly settings: () => LoopSwitch<"outbox">;
}

export const outboxSpec: LoopSpec<"outbox", OutboxParts> = {
  name: "outbox",
  kind: "claimed",
  intervalMs: () => seconds(1),
  enabled: ownSwitch("outbox"),
  wokenBy: ["outbox"],
  build: ({ store, deliverers, tell, chance }) =>
    new OutboxLoop({ outbox: store.outbox, deliverers, alert: tell.alert, random: chance.random }),
};
