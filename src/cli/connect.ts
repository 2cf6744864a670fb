import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "../config/config.ts";
import { type ConfigRequest, loadConfig } from "../config/load.ts";
import { withoutPassword } from "../config/postgres-url.ts";
import { isWakefulError, messageOf, WakefulError } from "../domain/errors.ts";
import { api } from "../protocol/api/index.ts";
import { type Client, createClient } from "../protocol/client.ts";
import { socketTransport, type Transport, urlTransport } from "../protocol/transport.ts";
import type { CliHost } from "./host.ts";

export interface Connection {
  readonly client: Client;
  /** No daemon answered: the store's file is read directly. */
  readonly offline: boolean;
  close(): Promise<void>;
}

export interface ConnectRequest {
  readonly host: CliHost;
  readonly configRequest: ConfigRequest;
  /** `--url`, or `WAKEFUL_URL`. */
  readonly url: string | undefined;
  readonly offline: boolean;
}

/** How long a daemon may take to say that it is there; it answers this from memory. */
const probeMs = 5000;

/** Finds the daemon: by its URL, else its socket, else its address; else, where reading is all that is wanted, opens the store itself. */
export async function connect({ host, configRequest, url, offline }: ConnectRequest): Promise<Connection> {
  const actor = actorOf(host.user);
  const token = host.env["WAKEFUL_TOKEN"]?.trim();
  const given = token === undefined || token === "" ? undefined : token;
  if (url !== undefined)
    return online(createClient({ transport: urlTransport(url), actor, ...tokenOption(given ?? (await localToken(configRequest))) }));

  const { config } = await loadConfig(configRequest);
  const tried: string[] = [];
  for (const { where, transport } of transportsOf(config)) {
    const trouble = await troubleOf(transport(probeMs));
    if (trouble === undefined) return online(createClient({ transport: transport(undefined), actor, token: given ?? readToken(config) }));
    tried.push(trouble === "" ? where : `${where} (${trouble})`);
  }
  const shut = whyShut(config.dataDir);
  const nobody = `No daemon answers for ${config.dataDir}${tried.length === 0 ? "" : `: tried ${tried.join(", ")}`}${shut === undefined ? "" : `, and you may not look into it (${shut})`}.`;
  if (!offline)
    throw new WakefulError("daemon_unreachable", `${nobody} Start it with \`wakeful up\`, or name it with --url.`, {
      details: { dataDir: config.dataDir },
    });
  if (shut !== undefined)
    throw new WakefulError("forbidden", `${nobody} Call as the user who started the daemon, or name it with --url and WAKEFUL_TOKEN.`, {
      details: { dataDir: config.dataDir },
    });
  if (!config.store.includes("://") && !existsSync(config.store)) {
    throw new WakefulError(
      "daemon_unreachable",
      `${nobody} There is no store at ${config.store} either: nothing has been started here yet.`,
      { details: { dataDir: config.dataDir, storeMissing: true } },
    );
  }
  const { openOffline } = await import("./offline.ts");
  const connection = await openOffline({ config, configRequest, host });
  host.output.err(`${nobody} Reading ${storeText(config)} directly: nothing in it changes meanwhile.`);
  return connection;
}

const online = (client: Client): Connection => ({ client, offline: false, close: async () => undefined });
const tokenOption = (token: string | undefined): { readonly token?: string } => (token === undefined ? {} : { token });

/** Why nothing below a folder can be seen; what cannot be seen is not missing. Undefined: it can, or there is none. */
function whyShut(directory: string): string | undefined {
  try {
    accessSync(directory, constants.X_OK);
    return undefined;
  } catch (thrown) {
    return thrown instanceof Error && "code" in thrown && (thrown.code === "EACCES" || thrown.code === "EPERM") ? thrown.code : undefined;
  }
}

interface Candidate {
  readonly where: string;
  readonly transport: (timeoutMs: number | undefined) => Transport;
}

function transportsOf(config: Config): readonly Candidate[] {
  const candidates: Candidate[] = [];
  const waiting = (timeoutMs: number | undefined) => (timeoutMs === undefined ? {} : { timeoutMs });
  const socketPath = join(config.dataDir, "wakeful.sock");
  if (existsSync(socketPath))
    candidates.push({ where: socketPath, transport: (timeoutMs) => socketTransport(socketPath, waiting(timeoutMs)) });
  const { host, port } = config.http.listen;
  if (port !== 0) {
    // What listens everywhere is reached here.
    const name = ["0.0.0.0", "::"].includes(host) ? "127.0.0.1" : host.includes(":") ? `[${host}]` : host;
    const url = `http://${name}:${port}`;
    candidates.push({ where: url, transport: (timeoutMs) => urlTransport(url, waiting(timeoutMs)) });
  }
  return candidates;
}

/** Undefined: a daemon of ours answers. */
async function troubleOf(transport: Transport): Promise<string | undefined> {
  try {
    await createClient({ transport }).call(api.healthz, {});
    return undefined;
  } catch (thrown) {
    if (!isWakefulError(thrown)) throw thrown;
    return thrown.code === "daemon_unreachable" ? "" : "something else answers there";
  }
}

async function localToken(configRequest: ConfigRequest): Promise<string | undefined> {
  try {
    return readToken((await loadConfig(configRequest)).config);
  } catch (thrown) {
    // A daemon elsewhere needs no configuration here; without a token it will say what it lacks.
    if (isWakefulError(thrown)) return undefined;
    throw thrown;
  }
}

function readToken(config: Config): string {
  const path = join(config.dataDir, "tokens", "admin");
  try {
    return readFileSync(path, "utf8").trim();
  } catch (cause) {
    throw new WakefulError(
      "unauthorized",
      `Cannot read the admin token: ${messageOf(cause)}. Call as the user who started the daemon, or set WAKEFUL_TOKEN.`,
      { cause, details: { path } },
    );
  }
}

/** Without the password that a URL may hold. */
export const storeText = (config: Pick<Config, "store">): string => withoutPassword(config.store);

/** Only what the API takes as an actor. */
const actorOf = (user: string): string => `cli:${user.replaceAll(/[^\w.@-]/g, "_")}`.slice(0, 64);
