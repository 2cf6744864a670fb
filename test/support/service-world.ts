import type { JobId, RunId, WorkerId } from "../../src/domain/ids.ts";
import type { StageDefinition } from "../../src/pipelines/definition.ts";
import { PipelineRegistry } from "../../src/pipelines/registry.ts";
import type { Fence, RunLimits, StoredProcess } from "../../src/store/port/runs.ts";
import type { Store } from "../../src/store/port/store.ts";
import type { EventName, WakefulEvents } from "../../src/telemetry/events.ts";
import type { Caller } from "../../src/worker/backends/caller-sessions.ts";
import type { WorkerService, WorkerServiceDeps } from "../../src/worker/backends/worker-service.ts";
import type { ClaimedWork, EndReport, ExitReading, Hello, RunEnding, WorkerBackend } from "../../src/worker/worker-backend.ts";
import { chain } from "./loop-world.ts";
import { present } from "./present.ts";
import { processOn } from "./store-rows.ts";
import type { OpenTestStore, StoreTestClock } from "./stores.ts";
import type { WorkerDoor } from "./worker-doors.ts";
import { serviceOf } from "./worker-service.ts";

export const day: RunLimits = { maxRunningMs: 86_400_000 };

/** A worker in a session of its own. */
export interface DoorWorker {
  readonly backend: WorkerBackend;
  readonly workerId: WorkerId;
  readonly hello: Hello;
  claim(
    queue: string,
    options?: { readonly max?: number; readonly startNow?: number; readonly limits?: RunLimits },
  ): Promise<readonly ClaimedWork[]>;
  end(...reports: readonly EndReport[]): ReturnType<WorkerBackend["end"]>;
}

/** The worker service over a real store, as workers reach it through a door. */
export class ServiceWorld {
  readonly store: Store;
  readonly clock: StoreTestClock;
  readonly registry: PipelineRegistry;
  readonly events: { readonly name: EventName; readonly data: unknown }[] = [];
  readonly #door: WorkerDoor;
  #service: WorkerService;
  readonly #deps: Partial<WorkerServiceDeps>;
  #made = 0;

  constructor(
    opened: { readonly store: Store; readonly clock: StoreTestClock },
    door: WorkerDoor,
    registry: PipelineRegistry,
    deps: Partial<WorkerServiceDeps>,
  ) {
    this.store = opened.store;
    this.clock = opened.clock;
    this.registry = registry;
    this.#door = door;
    this.#deps = deps;
    this.#service = this.#serve();
  }

  #serve(): WorkerService {
    const emit: WorkerServiceDeps["emit"] = (name, data) => {
      this.events.push({ name, data });
    };
    return serviceOf({ store: this.store, registry: this.registry, emit, tokenOf: (runId) => `token of ${runId}`, ...this.#deps });
  }

  /** Restarts the daemon: its service forgets what it remembered. */
  restart(): void {
    this.#service = this.#serve();
  }

  connect(caller?: Caller): WorkerBackend {
    return this.#door(this.#service.connect(caller));
  }

  async worker(
    options: { readonly kind?: Hello["kind"]; readonly backend?: WorkerBackend; readonly process?: StoredProcess } = {},
  ): Promise<DoorWorker> {
    const { kind = "handler", backend = this.connect(), process = processOn() } = options;
    const name = `w${++this.#made}`;
    const hello: Hello = { helloId: name, name, kind, process, concurrency: 4, queues: [] };
    const workerId = await backend.hello(hello);
    let claimSeq = 0;
    return {
      backend,
      workerId,
      hello,
      claim: async (queue, { max = 10, startNow = 10, limits = day } = {}) => {
        claimSeq++;
        return await backend.claim({
          claimId: `${name}-${claimSeq}`,
          workerId,
          claimSeq,
          queues: [{ name: queue, limits }],
          max,
          startNow,
        });
      },
      end: async (...reports) => await backend.end(workerId, reports),
    };
  }

  async enqueue(count = 1, options: { readonly maxAttempts?: number } = {}): Promise<readonly JobId[]> {
    return await this.store.jobs.enqueue({
      queue: "t",
      maxAttempts: 5,
      ...options,
      jobs: Array.from({ length: count }, () => ({ payload: '"do"' })),
    });
  }

  async addItem(pipeline = "p") {
    const { item } = await this.store.items.add({
      pipeline,
      key: "book",
      dir: `book-${pipeline}`,
      input: '{"pages":3}',
      label: "The Book",
      first: present(this.registry.entry(pipeline, "prep")),
      actor: "test",
    });
    return item;
  }

  run(runId: RunId) {
    return this.store.runs.get(runId);
  }

  eventsOf<Name extends EventName>(name: Name): readonly WakefulEvents[Name][] {
    return this.events.filter((each) => each.name === name).map(({ data }) => data as WakefulEvents[Name]);
  }
}

/** A pipeline `p` of handlers and `c` of commands, both of the stages prep and ocr, and the task `t`. */
export async function serviceWorld(
  open: OpenTestStore,
  door: WorkerDoor,
  stage: Partial<StageDefinition> = {},
  deps: Partial<WorkerServiceDeps> = {},
): Promise<ServiceWorld> {
  const opened = await open();
  const registry = new PipelineRegistry([
    chain("p", ["prep", "ocr"], { stage: { run: { kind: "handler", name: "work" }, ...stage } }),
    chain("c", ["prep", "ocr"], { stage }),
  ]);
  await opened.store.jobs.ensureQueues([...registry.queues(), { name: "t", kind: "handler" }]);
  return new ServiceWorld(opened, door, registry, deps);
}

export const fenceOf = ({ runId, ownerEpoch }: Fence): Fence => ({ runId, ownerEpoch });
export const reportOf = (run: Fence, ending: RunEnding, more: Partial<EndReport> = {}): EndReport => ({ ...fenceOf(run), ending, ...more });
export const returned: RunEnding = { kind: "returned", output: '"made"' };
export const readingOf = (run: Fence, begunAt: ExitReading["begunAt"], more: Partial<ExitReading> = {}): ExitReading => ({
  ...fenceOf(run),
  output: { kind: "none" },
  gate: { kind: "not_read" },
  begunAt,
  straysLeft: false,
  evidence: {},
  ...more,
});
