import type { Store } from "../../store/port/store.ts";

/**
 * What a worker needs of the store. Inside the daemon (or on PostgreSQL) it is the store itself; the handler host gets it over its pipe.
 * Plain data in and out, so that any transport can carry it.
 */
export interface WorkerBackend {
  readonly workers: Pick<Store["workers"], "register" | "renew" | "drain" | "leave">;
  readonly runs: Pick<Store["runs"], "claim" | "start" | "recordExit" | "recordGatePending" | "settle" | "beat" | "listLive">;
  readonly items: Pick<Store["items"], "get" | "visits">;
  /** Instants of the store's clock. */
  now(): number;
  /** Calls back when there may be jobs to claim. A hint: the worker polls as well. Returns the way to stop. */
  onJobs(listener: () => void): () => void;
}

/** The store as a worker's backend. */
export function directBackend(store: Store): WorkerBackend {
  return {
    workers: store.workers,
    runs: store.runs,
    items: store.items,
    now: () => store.now(),
    onJobs: (listener) =>
      store.onHint((hint) => {
        if (hint === "jobs") listener();
      }),
  };
}
