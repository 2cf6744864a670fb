import type { StoreParts } from "./engine/store-parts.ts";
import { createDuplicates } from "./items/duplicates.ts";
import { createItems } from "./items/items.ts";
import { createJobs } from "./jobs/jobs.ts";
import { createLeases } from "./leases/leases.ts";
import { storeClosed } from "./port/errors.ts";
import type { Store } from "./port/store.ts";
import { createActions } from "./records/actions.ts";
import { createOutbox } from "./records/outbox.ts";
import { guardEnqueue, guardSettle, guardTexts } from "./text-door.ts";
import { createUpkeep } from "./upkeep/upkeep.ts";
import { createDaemons } from "./workers/daemons.ts";
import { createWorkers } from "./workers/workers.ts";

/** The store as its callers see it: the nouns written once, the hot verbs of the engine in their places, and the door for texts before all. */
export function assembleStore(parts: StoreParts): Store {
  const { engine, hints, hot } = parts;
  const { manyWriters, notifies, blocksEventLoop, turns } = engine.capabilities;
  let closing: Promise<void> | undefined;
  return {
    capabilities: { manyWriters, notifies, blocksEventLoop, turns },
    jobs: { ...guardTexts({ ...createJobs(engine), ...hot.jobs }), enqueue: guardEnqueue(hot.jobs) },
    // Checks and renewals are nothing but numbers.
    runs: { ...guardTexts(hot.runs), moveChecks: (checks) => hot.runs.moveChecks(checks), settle: guardSettle(hot.runs) },
    items: guardTexts({ ...createItems(engine), ...hot.items }),
    workers: { ...guardTexts({ ...createWorkers(engine), ...hot.workers }), renew: (renewal) => hot.workers.renew(renewal) },
    daemons: guardTexts(createDaemons(engine)),
    leases: guardTexts(createLeases(engine)),
    actions: guardTexts(createActions(engine)),
    outbox: guardTexts(createOutbox(engine)),
    duplicates: guardTexts(createDuplicates(engine)),
    upkeep: guardTexts(createUpkeep(engine)),
    now: () => engine.now(),
    onHint: (listener) => hints.listen(listener),
    onClockDoubt: (listener) => parts.onClockDoubt?.(listener) ?? (() => undefined),
    ping: async () => {
      if (closing !== undefined) throw storeClosed();
      await engine.rows("select 1", []);
    },
    close: async () => {
      closing ??= hot.close().then(async () => {
        hints.clear();
        await parts.release();
      });
      await closing;
    },
  };
}
