import { isWakefulError } from "../../domain/errors.ts";
import type { HostId } from "../../domain/ids.ts";
import type { DurationMs } from "../../domain/time.ts";
import { isLivingDaemon } from "../../liveness/daemon-policy.ts";
import type { DaemonRow } from "../../store/port/daemons.ts";
import type { Store } from "../../store/port/store.ts";

export interface KnownDaemonsDeps {
  readonly store: Pick<Store, "daemons" | "now" | "capabilities">;
  readonly hostId: HostId;
  readonly monoNow: () => number;
  /** How often a daemon writes down that it lives, and how long it may be silent. Read at each look. */
  readonly limits: () => { readonly renewMs: DurationMs; readonly deadAfterMs: DurationMs };
}

/** The daemons of the store, as they were at the last look. */
export class KnownDaemons {
  readonly #deps: KnownDaemonsDeps;
  #rows: readonly DaemonRow[] = [];
  #beatAtMono = Number.NEGATIVE_INFINITY;

  constructor(deps: KnownDaemonsDeps) {
    this.#deps = deps;
  }

  /** What {@link look} does, and writes down that this daemon lives. */
  async beat(): Promise<void> {
    const { store, hostId, monoNow, limits } = this.#deps;
    if (store.capabilities.manyWriters && monoNow() >= this.#beatAtMono) {
      this.#beatAtMono = monoNow() + limits().renewMs;
      await this.#unlessDown(async () => await store.daemons.beat(hostId));
    }
    await this.look();
  }

  /** Reads them again. Where one daemon owns the store there is nobody to read of. */
  async look(): Promise<void> {
    const { store } = this.#deps;
    if (!store.capabilities.manyWriters) return;
    await this.#unlessDown(async () => {
      this.#rows = await store.daemons.list();
    });
  }

  /** The store's own watch tells of a store that does not answer. */
  async #unlessDown(ask: () => Promise<void>): Promise<void> {
    try {
      await ask();
    } catch (thrown) {
      if (!isWakefulError(thrown)) throw thrown;
    }
  }

  /** All others that may be at work. */
  others(): readonly DaemonRow[] {
    return this.#living().filter(({ process }) => process.hostId !== this.#deps.hostId);
  }

  /** Of the daemons that live the one that has been up for longest. It alone tells of what concerns the store and no host. */
  isFirst(): boolean {
    const [first] = this.#living();
    return first === undefined || first.process.hostId === this.#deps.hostId;
  }

  isLiving(hostId: HostId): boolean {
    return this.#living().some(({ process }) => process.hostId === hostId);
  }

  #living(): readonly DaemonRow[] {
    const { store, limits } = this.#deps;
    const now = store.now();
    return this.#rows.filter((row) => isLivingDaemon(row, limits(), now));
  }
}
