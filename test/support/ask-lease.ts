import { addMs, seconds } from "../../src/domain/time.ts";
import type { LeaseHolder } from "../../src/store/port/leases.ts";
import type { Store } from "../../src/store/port/store.ts";
import { processOn } from "./store-rows.ts";

/** Who asks for a lease unless a test says otherwise. */
export const asker: LeaseHolder = { kind: "process", process: processOn() };

/** Asks for the lease `merge:shop`, for at most ten minutes; a test names what it is about. */
export const askLease = async (store: Store, ticket: string, overrides: Partial<Parameters<Store["leases"]["acquire"]>[0]> = {}) =>
  await store.leases.acquire({
    name: "merge:shop",
    ticket,
    holder: asker,
    ttlMs: seconds(60),
    maxHoldMs: seconds(600),
    timeoutAt: addMs(store.now(), seconds(30)),
    ...overrides,
  });
