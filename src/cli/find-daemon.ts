import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "../config/config.ts";
import { isWakefulError } from "../domain/errors.ts";
import { type Instance, instanceOf } from "../files/installation.ts";
import { api } from "../protocol/api/index.ts";
import { createClient } from "../protocol/client.ts";
import { socketTransport, type Transport, urlTransport } from "../protocol/transport.ts";

/** What answers where the daemon of a data directory should be. */
export type Found =
  | { readonly kind: "ours"; readonly transport: Transport }
  /** Nobody, or somebody else; `tried` says where and what was found, for people. */
  | { readonly kind: "nobody"; readonly tried: readonly string[]; readonly strangers: readonly string[] };

export interface Search {
  readonly config: Config;
  /** Whether the caller brought a token of his own: then a data directory that is not here proves nothing. */
  readonly tokenGiven: boolean;
}

/** How long a daemon may take to say that it is there; it answers this from memory. */
const probeMs = 5000;

/** Finds the daemon of a data directory by its socket, else by its address. Whoever answers there for another directory is not it. */
export async function findDaemon({ config, tokenGiven }: Search): Promise<Found> {
  const own = await instanceOf(config.dataDir);
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

/** A daemon of an older version does not say whose it is. */
function mayBeOurs(instance: string | undefined, { own, tokenGiven }: { readonly own: Instance; readonly tokenGiven: boolean }): boolean {
  if (instance === undefined || own.kind === "unknown") return true;
  return own.kind === "known" ? own.id === instance : tokenGiven;
}

interface Candidate {
  readonly where: string;
  readonly transport: (timeoutMs: number | undefined) => Transport;
}

function candidatesOf(config: Config): readonly Candidate[] {
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
