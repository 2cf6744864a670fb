import type { LoopSwitch } from "../config/loop-settings.ts";
import { messageOf } from "../domain/errors.ts";
import type { HostId } from "../domain/ids.ts";
import { addMs, type DurationMs, type Instant, minutes, seconds } from "../domain/time.ts";
import { alertOf } from "../notify/alerts.ts";
import type { Deliverer } from "../notify/deliverer.ts";
import type { RaiseAlert, Tell } from "../notify/raise-alert.ts";
import type { Host } from "../processes/probe/host.ts";
import { eachLimit } from "../runtime/each-limit.ts";
import type { Chance } from "../runtime/entropy.ts";
import type { OutboxClaim, OutboxRow, OutboxStore } from "../store/port/records.ts";
import type { Store } from "../store/port/store.ts";
import type { Loop, TickContext, TickReport } from "./skeleton/loop.ts";
import type { LoopReports } from "./skeleton/loop-reports.ts";
import { type LoopParts, type LoopSpec, ownSwitch } from "./skeleton/loop-spec.ts";

export interface OutboxDeps {
  readonly outbox: Pick<OutboxStore, "dueFor" | "claim" | "prolong" | "done" | "failed" | "letGo">;
  /** Whose entries are delivered, beside those of no host. */
  readonly hostId: HostId;
  readonly now: () => Instant;
  readonly deliverers: readonly Deliverer[];
  /** Alerts on entries that were given up, unless they are alerts themselves. */
  readonly alert: RaiseAlert;
  readonly random: () => number;
  readonly limits?: OutboxLimits | undefined;
}

export interface OutboxLimits {
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

/** A claim that is held for longer is prolonged: well before it runs out, also while one more delivery takes all its time. */
const prolongAfterMs: DurationMs = seconds(10);

/**
 * Delivers what was written with a flip: at least once, by one daemon, backed off, given up after ten attempts with an alert. A delivery
 * that fails or never answers delays neither the others nor the next tick.
 */
export class OutboxLoop implements Loop<"outbox"> {
  readonly name = "outbox";
  readonly #deps: OutboxDeps;
  readonly #limits: Readonly<Record<keyof OutboxLimits, number>>;
  readonly #deliverers: ReadonlyMap<string, Deliverer>;
  /** Deliveries without an answer, also those that a tick has given up waiting for: an entry is never delivered twice at once. */
  readonly #underway = new Set<number>();
  /** The claims of what waits for its turn or is under way, and since when each lasts. */
  readonly #claims = new Map<number, OutboxClaim & { readonly since: Instant }>();
  readonly #dead = new DeadLetters();
  #deadLetters = 0;

  constructor(deps: OutboxDeps) {
    const { concurrency = 8, pageSize = 200, deliveryTimeoutMs = 10_000 } = deps.limits ?? {};
    this.#deps = deps;
    this.#limits = { concurrency, pageSize, deliveryTimeoutMs };
    this.#deliverers = new Map(deps.deliverers.map((deliverer) => [deliverer.kind, deliverer]));
  }

  details(): LoopReports["outbox"] {
    return { dead_letters: this.#deadLetters, underway: this.#underway.size };
  }

  async tick(context: TickContext): Promise<TickReport> {
    const { outbox, hostId } = this.#deps;
    const { pageSize, concurrency } = this.#limits;
    await this.#prolong();
    const due = await outbox.dueFor({ hostId, limit: pageSize });
    const ready = due.filter((entry) => !this.#underway.has(entry.id));
    if (context.dryRun) {
      return { seen: due.length, settled: 0, lost: 0, failed: 0, would: ready.map((entry) => `deliver ${entry.kind} ${entry.key}`) };
    }
    const counts = { delivered: 0, lost: 0, failed: 0 };
    const claimed = ready.length === 0 ? [] : await outbox.claim({ hostId, entries: ready });
    for (const { id, claimFence } of claimed) this.#claims.set(id, { id, claimFence, since: this.#deps.now() });
    await eachLimit(claimed, { count: concurrency, signal: context.signal }, async (entry) => {
      try {
        counts[await this.#deliver(entry, context)] += 1;
      } catch (thrown) {
        // The store refused to record the delivery's result: the entry is due again when its claim ends, the others go on.
        this.#claims.delete(entry.id);
        counts.failed += 1;
        context.emit("loop.subject_failed", { loop: "outbox", subject: `${entry.kind} ${entry.key}`, message: messageOf(thrown) });
      }
    });
    await this.#dead.tell(this.#deps.alert);
    // A full page means more entries; a page of failures alone would only be read again.
    const more = due.length === pageSize && counts.delivered > 0;
    const lost = counts.lost + ready.length - claimed.length;
    return { seen: due.length, settled: counts.delivered, lost, failed: counts.failed, nextInMs: more ? 0 : undefined };
  }

  /** Keeps the claims of what waits and of what is under way. What is lost is not begun any more. */
  async #prolong(): Promise<void> {
    const now = this.#deps.now();
    const old = [...this.#claims.values()].filter(({ since }) => now - since >= prolongAfterMs);
    if (old.length === 0) return;
    // At once, so that deliveries beside this one do not ask for the same.
    for (const claim of old) this.#claims.set(claim.id, { ...claim, since: now });
    const held = new Set(await this.#deps.outbox.prolong(old));
    for (const { id } of old) if (!held.has(id)) this.#claims.delete(id);
  }

  async #deliver(entry: OutboxRow, context: TickContext): Promise<"delivered" | "lost" | "failed"> {
    await this.#prolong();
    if (!this.#claims.has(entry.id)) return "lost";
    let delivery: Promise<void> | undefined;
    try {
      const deliverer = this.#deliverers.get(entry.kind);
      if (deliverer === undefined) throw new Error(`nothing delivers entries of kind ${entry.kind}`);
      const { deliveryTimeoutMs } = this.#limits;
      this.#underway.add(entry.id);
      const limit = AbortSignal.any([context.signal, AbortSignal.timeout(deliveryTimeoutMs)]);
      delivery = deliverer.deliver(entry, limit).finally(() => this.#underway.delete(entry.id));
      await untilAborted(delivery, limit, deliveryTimeoutMs);
      this.#claims.delete(entry.id);
      return (await this.#deps.outbox.done(entry)) ? "delivered" : "lost";
    } catch (thrown) {
      // A delivery cut short by a stop has not failed: the entry is due as before.
      if (context.signal.aborted) return "failed";
      const isNoted = await this.#fail(entry, messageOf(thrown), context);
      if (delivery !== undefined && this.#underway.has(entry.id)) void this.#whenAnswered(entry, delivery, context);
      else this.#claims.delete(entry.id);
      return isNoted ? "failed" : "lost";
    }
  }

  /** A delivery that a tick gave up waiting for keeps its claim until it has arrived, or has failed for certain. */
  async #whenAnswered(entry: OutboxRow, delivery: Promise<void>, { emit }: TickContext): Promise<void> {
    const { outbox } = this.#deps;
    const hasArrived = await delivery.then(
      () => true,
      () => false,
    );
    this.#claims.delete(entry.id);
    try {
      if (hasArrived) await outbox.done(entry);
      else await outbox.letGo(entry);
    } catch (thrown) {
      // Its claim runs out, and it is delivered again.
      emit("loop.subject_failed", { loop: "outbox", subject: `${entry.kind} ${entry.key}`, message: messageOf(thrown) });
    }
  }

  async #fail(entry: OutboxRow, error: string, { now, emit }: TickContext): Promise<boolean> {
    const { outbox, random } = this.#deps;
    const failures = entry.attempts + 1;
    const givenUp = failures >= deliveriesMax;
    const dueAt: Instant = addMs(now, redeliveryDelayMs(failures, random));
    // One that has not answered may still arrive: its claim is kept until it has.
    const underWay = this.#underway.has(entry.id);
    if (!(await outbox.failed({ id: entry.id, claimFence: entry.claimFence, error, dueAt, dead: givenUp, underWay }))) return false;
    if (!givenUp) return true;
    this.#deadLetters += 1;
    emit("outbox.dead_lettered", { id: entry.id, kind: entry.kind, key: entry.key, error });
    if (entry.kind === "alert") {
      // An alert about an undelivered alert would fail the same way, so an event carries what it said.
      const { cause, title, details } = alertOf(entry);
      emit("alert.raised", { cause, title, details: { ...details, notDelivered: error } });
    } else this.#dead.add(entry, error);
    return true;
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
  readonly store: Pick<Store, "outbox" | "now">;
  readonly host: Pick<Host, "identity">;
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
  build: ({ store, host, deliverers, tell, chance }) =>
    new OutboxLoop({
      outbox: store.outbox,
      hostId: host.identity.hostId,
      now: () => store.now(),
      deliverers,
      alert: tell.alert,
      random: chance.random,
    }),
};
