import { PipelineRegistry } from "../../src/pipelines/registry.ts";
import { ExitDecider } from "../../src/settling/exit-decider.ts";
import { firstChecks } from "../../src/store/jobs/claim-rules.ts";
import type { RunsStore } from "../../src/store/port/runs.ts";
import type { Store } from "../../src/store/port/store.ts";
import { WorkerService, type WorkerServiceDeps } from "../../src/worker/backends/worker-service.ts";
import type { WorkerBackend } from "../../src/worker/worker-backend.ts";
import { enderOf } from "./ender.ts";

/** The worker service of a test: without pipelines and listeners, unless the test says otherwise. */
export function serviceOf({
  store,
  registry = new PipelineRegistry([]),
  emit = () => undefined,
  ...deps
}: Pick<WorkerServiceDeps, "store"> & Partial<WorkerServiceDeps>): WorkerService {
  const now = () => store.now();
  return new WorkerService({
    store,
    registry,
    emit,
    ender: enderOf({ store, registry, emit }),
    decider: new ExitDecider({ registry, versions: store.items, random: () => 0.5, now }),
    checks: { ...firstChecks, finalizeGraceMs: () => 300_000 },
    tokenOf: () => undefined,
    onRenewed: () => undefined,
    ...deps,
  });
}

/** The same backend with some verbs of the test's own. */
export function withVerbs(backend: WorkerBackend, verbs: Partial<WorkerBackend>): WorkerBackend {
  return new Proxy(backend, {
    get: (target, name) => {
      const verb: unknown = name in verbs ? verbs[name as keyof WorkerBackend] : Reflect.get(target, name);
      return typeof verb === "function" ? verb.bind(target) : verb;
    },
  });
}

/** The same store with some verbs of runs of the test's own. */
export const withRuns = (store: Store, runs: Partial<RunsStore>): Store => ({
  ...store,
  now: () => store.now(),
  runs: { ...store.runs, ...runs },
});
