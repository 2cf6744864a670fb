import { WakefulError } from "../domain/errors.ts";
import { addMs, type DurationMs, seconds } from "../domain/time.ts";
import type { LeaseHolder } from "../store/port/leases.ts";
import type { Store } from "../store/port/store.ts";
import type { Emit } from "../telemetry/events.ts";

export interface LeaseOperationsOptions {
  readonly store: Pick<Store, "leases" | "now">;
  readonly emit: Emit;
}

export interface LeaseRequest {
  readonly name: string;
  /** Made by the caller; asked again with it, the answer is the same lease or place in line. */
  readonly ticket: string;
  readonly holder: LeaseHolder;
  readonly ttlMs: DurationMs;
  readonly maxHoldMs: DurationMs;
  /** How long the caller waits in line. 0: not at all. */
  readonly waitMs: DurationMs;
}

type LeaseAnswer = Awaited<ReturnType<Store["leases"]["acquire"]>>;

/** How long a free lease may take to be granted to a caller who does not wait: time for a busy store, not a place in line. */
const grantWithinMs: DurationMs = seconds(10);

/** What holders do with leases: the rules between a request and the store's guarded verbs. */
export class LeaseOperations {
  readonly #store: LeaseOperationsOptions["store"];
  readonly #emit: Emit;

  constructor({ store, emit }: LeaseOperationsOptions) {
    this.#store = store;
    this.#emit = emit;
  }

  async acquire({ waitMs, ...request }: LeaseRequest): Promise<LeaseAnswer> {
    const { leases } = this.#store;
    const { name, ticket, ttlMs, maxHoldMs } = request;
    if (maxHoldMs < ttlMs) throw new WakefulError("bad_request", "maxHoldMs must not be less than ttlMs.");
    const timeoutAt = addMs(this.#store.now(), waitMs > 0 ? waitMs : grantWithinMs);
    const answer = await leases.acquire({ ...request, timeoutAt });
    if (answer.kind === "held") this.#emit("lease.granted", { lease: name, fencing: answer.fencing });
    if (waitMs > 0 || answer.kind !== "waiting") return answer;
    // A caller who does not wait must not be granted it later, when nobody would know.
    await leases.abandon(ticket);
    return { kind: "timed_out" };
  }

  /** Throws `conflict` when the lease is not held under this number any more. */
  async renew(lease: { readonly name: string; readonly fencing: number }): Promise<void> {
    if (!(await this.#store.leases.renew(lease))) throw notHeld(lease);
  }

  /** Throws `conflict` when the lease is not held under this number any more. */
  async release(lease: {
    readonly name: string;
    readonly fencing: number;
    readonly actor: string;
    readonly reason: string;
  }): Promise<void> {
    if (!(await this.#store.leases.release(lease))) throw notHeld(lease);
    this.#emit("lease.released", { lease: lease.name, fencing: lease.fencing });
  }

  /** Gives a place in line back. */
  async abandon(ticket: string): Promise<void> {
    await this.#store.leases.abandon(ticket);
  }
}

const notHeld = ({ name, fencing }: { readonly name: string; readonly fencing: number }): WakefulError =>
  new WakefulError("conflict", `Lease "${name}" is not held under fencing number ${fencing} any more.`, {
    details: { lease: name, fencing },
  });
