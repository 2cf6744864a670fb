import { addMs, type DurationMs, type Instant } from "../../domain/time.ts";
import type { Host } from "../../processes/probe/host.ts";
import type { ProcessIdentity } from "../../processes/probe/identity.ts";
import type { Store } from "../../store/port/store.ts";
import type { WorkersStore } from "../../store/port/workers.ts";

export interface KnownSessionsDeps {
  readonly store: { readonly workers: Pick<WorkersStore, "listPresence">; now(): ReturnType<Store["now"]> };
  readonly host: Pick<Host, "identity">;
  /** How long a session may be silent. Read at each look. */
  readonly deadAfterMs: () => DurationMs;
}

/** The sessions that were alive at the last look. Their processes on this host are never stopped as strays. */
export class KnownSessions {
  readonly #deps: KnownSessionsDeps;
  #processes: readonly ProcessIdentity[] = [];

  constructor(deps: KnownSessionsDeps) {
    this.#deps = deps;
  }

  processes(): readonly ProcessIdentity[] {
    return this.#processes;
  }

  /**
   * Reads the sessions again and judges none. The worker-reaper does so each tick; call this before its first tick, for a new session, and
   * while that loop is switched off.
   */
  async look(now: Instant = this.#deps.store.now()): ReturnType<WorkersStore["listPresence"]> {
    const { store, host, deadAfterMs } = this.#deps;
    const presence = await store.workers.listPresence({ hostId: host.identity.hostId, silentSince: addMs(now, -deadAfterMs()) });
    this.#processes = presence.sessions.map((worker) => worker.process);
    return presence;
  }
}
