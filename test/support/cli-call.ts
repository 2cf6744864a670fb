import type { Connection } from "../../src/cli/connection.ts";
import type { CliHost, StoppableDaemon, StopSignal } from "../../src/cli/host.ts";
import { runCli } from "../../src/cli/program.ts";
import { createClient } from "../../src/protocol/client.ts";
import { FakeClock } from "../../src/runtime/fake-clock.ts";
import { adminToken } from "./admin-token.ts";
import type { ApiDaemon } from "./api-daemon.ts";

export interface CliCallOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly host?: Partial<CliHost>;
  /** Instead of looking for a daemon. */
  readonly daemon?: ApiDaemon;
  readonly colour?: boolean;
}

export interface CliOutcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** One command line in this process, with its texts. */
export async function cli(argv: readonly string[], options: CliCallOptions = {}): Promise<CliOutcome> {
  let out = "";
  let err = "";
  const host: CliHost = {
    cwd: options.cwd ?? "/nonexistent",
    env: options.env ?? {},
    clock: new FakeClock(),
    output: { out: (text) => void (out += text), err: (line) => void (err += `${line}\n`), colour: options.colour ?? false },
    user: "tester",
    version: "0.1.0",
    startDaemon: async () => {
      throw new Error("no daemon is started here");
    },
    runCommand: async () => {
      throw new Error("no command is run here");
    },
    onSignal: () => () => undefined,
    ...options.host,
  };
  const { daemon } = options;
  const code = await runCli({ argv, host, connect: daemon === undefined ? undefined : async () => connectionTo(daemon) });
  return { code, out, err };
}

/** The command line's connection to a daemon of {@link ApiDaemon}, without a socket. */
export function connectionTo({ app }: ApiDaemon): Connection {
  const client = createClient({
    token: adminToken,
    actor: "cli:tester",
    transport: async ({ method, path, headers, body }) => {
      const answer = await app.inject({
        method: method as "GET",
        url: path,
        headers: { ...headers, host: "localhost" },
        ...(body === undefined ? {} : { payload: body }),
      });
      return {
        status: answer.statusCode,
        chunks: (async function* () {
          yield answer.rawPayload;
        })(),
      };
    },
  });
  return { client, offline: false, close: async () => undefined };
}

/** A daemon that only tells how it was stopped, and signals that a test sends. */
export function fakeServing(report: Awaited<ReturnType<StoppableDaemon["stop"]>> = { late: [], failed: [] }): {
  readonly host: Pick<CliHost, "startDaemon" | "onSignal">;
  send(signal: StopSignal): void;
  readonly stopped: string[];
  readonly started: Promise<void>;
} {
  const listeners = new Map<StopSignal, () => void>();
  const stopped: string[] = [];
  let listens = 0;
  let begin: () => void = () => undefined;
  const started = new Promise<void>((resolve) => {
    begin = resolve;
  });
  const daemon: StoppableDaemon = {
    url: "http://127.0.0.1:1",
    socketPath: "/x/wakeful.sock",
    stop: async (mode) => {
      stopped.push(mode);
      return report;
    },
    kill: async () => void stopped.push("kill"),
  };
  return {
    stopped,
    started,
    send: (signal) => listeners.get(signal)?.(),
    host: {
      startDaemon: async () => daemon,
      onSignal: (signal, listener) => {
        listeners.set(signal, listener);
        listens += 1;
        // Those that listen while it starts, and then those that stop it.
        if (listens === 6) begin();
        return () => void listeners.delete(signal);
      },
    },
  };
}
