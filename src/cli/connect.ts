import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "../config/config.ts";
import { type ConfigRequest, loadConfig } from "../config/load.ts";
import { withoutPassword } from "../config/postgres-url.ts";
import { codeOf, hasCode, isWakefulError, messageOf, WakefulError } from "../domain/errors.ts";
import { type Installation, installationOf } from "../files/installation.ts";
import { api } from "../protocol/api/index.ts";
import { type Client, createClient } from "../protocol/client.ts";
import { socketTransport, type Transport, urlTransport } from "../protocol/transport.ts";
import type { Connection } from "./connection.ts";
import type { CliHost } from "./host.ts";

export interface ConnectRequest {
  readonly host: CliHost;
  readonly configRequest: ConfigRequest;
  /** `--url`, or `WAKEFUL_URL`. */
  readonly url: string | undefined;
  readonly offline: boolean;
}

/** Finds the daemon: by its URL, else its socket, else its address; else, if the command only reads, opens the store itself. */
export async function connect({ host, configRequest, url, offline }: ConnectRequest): Promise<Connection> {
  const actor = actorOf(host.user);
  const token = host.env["WAKEFUL_TOKEN"]?.trim();
  const given = token === undefined || token === "" ? undefined : token;
  if (url !== undefined)
    return online(createClient({ transport: urlTransport(url), actor, token: given ?? (await localToken(configRequest)) }));

  const { config } = await loadConfig(configRequest);
  const found = await findDaemon({ config, tokenGiven: given !== undefined });
  if (found.kind === "ours") return online(createClient({ transport: found.transport, actor, token: given ?? readToken(config) }));
  const { tried, strangers } = found;
  const shut = whyShut(config.dataDir);
  const nobody = `No daemon answers for ${config.dataDir}${tried.length === 0 ? "" : `: tried ${tried.join(", ")}`}${shut === undefined ? "" : `, and you may not look into it (${shut})`}.`;
  if (!offline)
    throw new WakefulError("daemon_unreachable", `${nobody} ${shut === undefined ? howToStart(strangers) : callAsOwner}`, {
      details: { dataDir: config.dataDir, strangers },
    });
  if (shut !== undefined)
    throw new WakefulError("forbidden", `${nobody} ${callAsOwner}`, {
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
  host.output.err(`${nobody} Reading ${withoutPassword(config.store)} directly: nothing in it changes meanwhile.`);
  return connection;
}

const callAsOwner = "Call as the user who started the daemon, or name it with --url and WAKEFUL_TOKEN.";

/** If another daemon has the address, this one needs another. */
const howToStart = (strangers: readonly string[]): string =>
  strangers.length === 0
    ? "Start it with `wakeful up`, or name it with --url."
    : "This project's is not running: start it on another address with `wakeful up --listen 127.0.0.1:0` or http.listen, or name one with --url.";

const online = (client: Client): Connection => ({ client, offline: false, close: async () => undefined });

/** Why a folder's content cannot be seen, which does not mean that it is missing. Undefined: it can be seen, or there is no folder. */
function whyShut(directory: string): string | undefined {
  try {
    accessSync(directory, constants.X_OK);
    return undefined;
  } catch (thrown) {
    return hasCode(thrown, "EACCES", "EPERM") ? codeOf(thrown) : undefined;
  }
}

async function localToken(configRequest: ConfigRequest): Promise<string | undefined> {
  try {
    return readToken((await loadConfig(configRequest)).config);
  } catch (thrown) {
    // A daemon elsewhere needs no configuration here; if it wants a token, its answer says so.
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

/** Only what the API takes as an actor. */
const actorOf = (user: string): string => `cli:${user.replaceAll(/[^\w.@-]/g, "_")}`.slice(0, 64);

/** What answers where the daemon of a data directory should be. */
type Found =
  | { readonly kind: "ours"; readonly transport: Transport }
  /** Nobody, or another program; `tried` says for people where, and what answered. */
  | { readonly kind: "nobody"; readonly tried: readonly string[]; readonly strangers: readonly string[] };

interface Search {
  readonly config: Config;
  /** With a token given, the daemon may serve a data directory that this host cannot see. */
  readonly tokenGiven: boolean;
}

/** How long a daemon may take to answer the probe, which it does from memory. */
const probeMs = 5000;

/** Finds the daemon of a data directory by its socket, else by its address. A daemon of another directory does not count. */
async function findDaemon({ config, tokenGiven }: Search): Promise<Found> {
  const own = await installationOf(config.dataDir);
  const tried: string[] = [];
  const strangers: string[] = [];
  for (const { where, transport } of candidatesOf(config)) {
    const answer = await whoAnswers(transport(probeMs));
    if (answer.kind === "daemon" && mayBeOurs(answer.instance, { own, tokenGiven }))
      return { kind: "ours", transport: transport(undefined) };
    if (answer.kind === "daemon") strangers.push(where);
    tried.push(
      { nobody: where, other: `${where} (something else answers there)`, daemon: `${where} (another project's daemon answers there)` }[
        answer.kind
      ],
    );
  }
  return { kind: "nobody", tried, strangers };
}

/** A daemon of an older version does not name its data directory. */
function mayBeOurs(
  instance: string | undefined,
  { own, tokenGiven }: { readonly own: Installation; readonly tokenGiven: boolean },
): boolean {
  if (instance === undefined || own.kind === "unknown") return true;
  return own.kind === "known" ? own.id === instance : tokenGiven;
}

interface Candidate {
  readonly where: string;
  readonly transport: (timeoutMs: number | undefined) => Transport;
}

function candidatesOf(config: Config): readonly Candidate[] {
  const candidates: Candidate[] = [];
  const socketPath = join(config.dataDir, "wakeful.sock");
  if (existsSync(socketPath)) candidates.push({ where: socketPath, transport: (timeoutMs) => socketTransport(socketPath, { timeoutMs }) });
  const { host, port } = config.http.listen;
  if (port !== 0) {
    // A daemon that listens on all addresses is reached on loopback.
    const name = ["0.0.0.0", "::"].includes(host) ? "127.0.0.1" : host.includes(":") ? `[${host}]` : host;
    const url = `http://${name}:${port}`;
    candidates.push({ where: url, transport: (timeoutMs) => urlTransport(url, { timeoutMs }) });
  }
  return candidates;
}

type Answer = { readonly kind: "nobody" } | { readonly kind: "other" } | { readonly kind: "daemon"; readonly instance: string | undefined };

async function whoAnswers(transport: Transport): Promise<Answer> {
  try {
    const { instance } = await createClient({ transport }).call(api.healthz, {});
    return { kind: "daemon", instance };
  } catch (thrown) {
    if (!isWakefulError(thrown)) throw thrown;
    return { kind: thrown.code === "daemon_unreachable" ? "nobody" : "other" };
  }
}
