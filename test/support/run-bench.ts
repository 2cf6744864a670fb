import { mkdirSync } from "node:fs";
import { onTestFinished } from "vitest";
import { addMs } from "../../src/domain/time.ts";
import { dataPaths } from "../../src/files/data-paths.ts";
import { readHostIdentity } from "../../src/processes/probe/host-identity.ts";
import type { HostIdentity, ProcessIdentity } from "../../src/processes/probe/identity.ts";
import { systemProcessTable } from "../../src/processes/probe/process-table.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { Store } from "../../src/store/port/store.ts";
import type { Emit } from "../../src/telemetry/events.ts";
import { foregroundCaller } from "../../src/worker/backends/caller-sessions.ts";
import type { RunCommandApi } from "../../src/worker/foreground/foreground-api.ts";
import { type RunCommandOptions, runCommand } from "../../src/worker/foreground/foreground-run.ts";
import { ForegroundSessions, type OpenedRunSession } from "../../src/worker/foreground/foreground-sessions.ts";
import type { SeenEvent } from "./handler-bench.ts";
import { StoreTestClock } from "./stores.ts";
import { tempDir } from "./temp-dir.ts";
import { serviceOf } from "./worker-service.ts";

type RunBenchOptions = Partial<RunCommandOptions> & { readonly interactive?: boolean };

export interface RunBench {
  readonly store: Store;
  readonly clock: StoreTestClock;
  readonly dataDir: string;
  readonly host: HostIdentity;
  readonly self: ProcessIdentity;
  readonly sessions: ForegroundSessions;
  readonly api: RunCommandApi;
  readonly said: string[];
  readonly events: readonly SeenEvent[];
  readonly opened: OpenedRunSession[];
  readonly disk: { low: boolean };
  /** Sends a signal to the command line, if it listens. */
  signal(signal: string): void;
  run(argv: readonly string[], overrides?: RunBenchOptions): Promise<number>;
}

/** A daemon as `wakeful run` sees it: a real store, real sessions and real processes, on a clock that the test moves. */
export async function runBench(): Promise<RunBench> {
  const dataDir = tempDir("run-command");
  const paths = dataPaths(dataDir);
  mkdirSync(paths.runsDir);
  const clock = new StoreTestClock();
  const store = await openStore({ url: ":memory:", clock });
  onTestFinished(() => store.close());
  const host = await readHostIdentity({ stateDir: dataDir, randomId: () => `test-${process.pid}` });
  const table = systemProcessTable();
  const sight = table.look(process.pid);
  if (sight.kind !== "seen") throw new Error("cannot see myself");
  const self: ProcessIdentity = { ...host, pid: process.pid, startTime: sight.row.startTime };
  let ids = 0;
  const events: SeenEvent[] = [];
  const disk = { low: false };
  const emit: Emit = (name, data) => {
    events.push({ name, data });
  };
  const sessions = new ForegroundSessions({
    store,
    host,
    paths,
    worker: serviceOf({ store, emit }).connect(foregroundCaller),
    newId: () => `id-${++ids}`,
    renewMs: 10,
    diskLow: () => disk.low,
    onRegistered: async () => undefined,
    emit,
  });
  const opened: OpenedRunSession[] = [];
  const api: RunCommandApi = {
    open: async (request) => {
      const session = await sessions.open(request);
      opened.push(session);
      return session;
    },
    start: (run) => sessions.start(run),
    recordCommand: (run) => sessions.recordCommand(run),
    renew: (run) => sessions.renew(run),
    end: (run) => sessions.end(run),
    abandon: (run) => sessions.abandon(run),
    acquireLease: ({ name, ticket, runId, ttlMs, maxHoldMs, waitMs }) =>
      store.leases.acquire({
        name,
        ticket,
        holder: { kind: "run", runId },
        ttlMs,
        maxHoldMs,
        timeoutAt: addMs(store.now(), Math.max(1, waitMs)),
      }),
    abandonLease: ({ ticket }) => store.leases.abandon(ticket),
    renewLease: (lease) => store.leases.renew(lease),
    releaseLease: (lease) => store.leases.release({ ...lease, actor: "test", reason: "returned" }),
    leaseHolder: async () => ({ holder: "run 7", heldMs: 65_000 }),
  };
  const said: string[] = [];
  const listeners = new Map<string, Set<() => void>>();
  return {
    store,
    clock,
    dataDir,
    host,
    self,
    sessions,
    api,
    said,
    events,
    opened,
    disk,
    signal: (signal) => {
      for (const listener of listeners.get(signal) ?? []) listener();
    },
    run: (argv, { interactive = false, ...overrides } = {}) =>
      runCommand({
        foreground: {
          argv,
          cwd: dataDir,
          say: (line) => said.push(line),
          onSignal: (signal, listener) => {
            const known = listeners.get(signal) ?? new Set();
            listeners.set(signal, known.add(listener));
            return () => void known.delete(listener);
          },
          interactive,
          stdio: "ignore",
        },
        daemon: { api, host, self },
        table,
        environment: { PATH: process.env["PATH"], KEPT: "yes" },
        monoNow: () => clock.now(),
        newTicket: () => `ticket-${++ids}`,
        pause: () => new Promise((resolve) => setImmediate(resolve)),
        ...overrides,
      }),
  };
}
