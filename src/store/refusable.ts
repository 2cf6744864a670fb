import type { Store } from "./port/store.ts";

/** A store, and the way to have all its verbs refused from outside. */
export interface RefusableStore {
  readonly store: Store;
  /** From now on every verb rejects with this error; undefined: no longer. Clock, hints and close go on. */
  readonly refuse: (error: Error | undefined) => void;
}

/** For who notices that it must neither write nor judge any more, such as a daemon whose data directory is gone. */
export function refusable(inner: Store): RefusableStore {
  let refusal: Error | undefined;
  const guarded = <Verbs extends object>(verbs: Verbs): Verbs => {
    const entries = Object.entries(verbs as Readonly<Record<string, (...given: readonly unknown[]) => Promise<unknown>>>);
    return Object.fromEntries(
      entries.map(([name, verb]) => [
        name,
        (...given: readonly unknown[]) => (refusal === undefined ? verb(...given) : Promise.reject(refusal)),
      ]),
    ) as Verbs;
  };
  const { jobs, runs, items, workers, daemons, leases, actions, outbox, duplicates, upkeep } = inner;
  return {
    store: {
      ...inner,
      jobs: guarded(jobs),
      runs: guarded(runs),
      items: guarded(items),
      workers: guarded(workers),
      daemons: guarded(daemons),
      leases: guarded(leases),
      actions: guarded(actions),
      outbox: guarded(outbox),
      duplicates: guarded(duplicates),
      upkeep: guarded(upkeep),
      ping: () => (refusal === undefined ? inner.ping() : Promise.reject(refusal)),
    },
    refuse: (error) => {
      refusal = error;
    },
  };
}
