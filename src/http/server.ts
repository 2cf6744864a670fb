import { chmod, unlink } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { hasCode, messageOf, WakefulError } from "../domain/errors.ts";
import type { DurationMs } from "../domain/time.ts";
import { api } from "../protocol/api/index.ts";
import { createClient } from "../protocol/client.ts";
import { buildApp } from "./app.ts";
import type { DaemonServices } from "./services.ts";
import type { Tokens } from "./tokens.ts";

export interface ServerOptions {
  readonly services: DaemonServices;
  readonly tokens: Tokens;
  /** Port 0 lets the system choose. */
  readonly listen: { readonly host: string; readonly port: number };
  /** From the configuration; the listening host is added. */
  readonly allowedHosts: readonly string[];
  /** Begins every correlation id; a few random letters per start. */
  readonly correlationPrefix: string;
  readonly eventsKept?: number | undefined;
}

export interface RunningServer {
  /** Such as `http://127.0.0.1:7070`. */
  readonly url: string;
  /** Null where the path of the data directory is too long for a socket. */
  readonly socketPath: string | null;
  /** Ends open streams and frees address and socket. */
  close(): Promise<void>;
}

/** The daemon's Unix socket inside its data directory. */
const socketPathOf = (dataDir: string): string => join(dataDir, "wakeful.sock");

/** What the kernel takes as a socket's path, its final zero not counted; the shortest of the platforms. */
const socketPathBytesMax = 103;

/**
 * Serves the API on TCP and on the Unix socket (0600) of the data directory. The caller holds the store's lock, so a socket file found here
 * belongs to a dead daemon.
 * @throws {WakefulError} `unavailable` when the address is taken or may not be listened on.
 */
export async function startServer({
  services,
  tokens,
  listen,
  allowedHosts,
  correlationPrefix,
  eventsKept,
}: ServerOptions): Promise<RunningServer> {
  const bracketed = listen.host.includes(":") ? `[${listen.host}]` : listen.host;
  const app = await buildApp({
    services,
    access: { tokens, allowedHosts: [bracketed, ...allowedHosts] },
    correlationPrefix,
    eventsKept,
  });
  const local = createServer({ requestTimeout: app.server.requestTimeout, requireHostHeader: false }, (request, response) =>
    app.routing(request, response),
  );
  // Bytes that are no request are answered alike on both.
  for (const event of ["clientError", "connect", "checkExpectation"])
    local.on(event, (...seen: unknown[]) => app.server.emit(event, ...seen));
  try {
    await app.listen({ ...listen });
  } catch (cause) {
    await app.close();
    throw await cannotListen(cause, { bracketed, port: listen.port });
  }
  const socketPath = socketPathOf(services.daemon.dataDir);
  const fits = Buffer.byteLength(socketPath) <= socketPathBytesMax;
  try {
    if (fits) await listenOnSocket(local, socketPath);
  } catch (thrown) {
    await app.close();
    throw thrown;
  }
  return {
    url: `http://${bracketed}:${(app.server.address() as AddressInfo).port}`,
    socketPath: fits ? socketPath : null,
    async close() {
      if (fits) await closeServer(local);
      await app.close();
    },
  };
}

/** How long the program that has the address may take to identify itself. */
const whoMs: DurationMs = 2000;

async function cannotListen(
  cause: unknown,
  { bracketed, port }: { readonly bracketed: string; readonly port: number },
): Promise<WakefulError> {
  const taken = hasCode(cause, "EADDRINUSE");
  const who = taken
    ? await whoListens(`http://${["0.0.0.0", "[::]"].includes(bracketed) ? "127.0.0.1" : bracketed}:${port}`)
    : messageOf(cause);
  return new WakefulError(
    "unavailable",
    `Cannot listen on ${bracketed}:${port}: ${who}. Choose another address with http.listen in the configuration, or --listen ${bracketed}:0, where the system chooses the port; commands find the daemon by its data directory.`,
    { cause, details: { listen: `${bracketed}:${port}` } },
  );
}

/** For people: which program listens at an address that is taken. */
async function whoListens(url: string): Promise<string> {
  try {
    await createClient({ url, timeoutMs: whoMs }).call(api.healthz, {});
    return "a Wakeful daemon of another data directory listens there already";
  } catch {
    // It is no Wakeful daemon, or does not say so.
    return "another program listens there already";
  }
}

async function listenOnSocket(server: Server, path: string): Promise<void> {
  await unlink(path).catch((thrown: unknown) => {
    if (!hasCode(thrown, "ENOENT")) throw thrown;
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, () => {
      server.off("error", reject);
      resolve();
    });
  });
  await chmod(path, 0o600);
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve, reject) => {
    server.close((error) => (error === undefined ? resolve() : reject(error)));
    server.closeAllConnections();
  });
}
