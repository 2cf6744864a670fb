import { request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { messageOf, WakefulError } from "../domain/errors.ts";

export interface TransportRequest {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface TransportAnswer {
  readonly status: number;
  readonly chunks: AsyncIterable<Uint8Array>;
}

/** Carries one request to a daemon. Rejects with `daemon_unreachable` when nobody answers. */
export type Transport = (request: TransportRequest) => Promise<TransportAnswer>;

/** Over TCP: `http://` or `https://`. Redirects are not followed: a token goes to nobody but the address it was given for. */
export function urlTransport(url: string, options: { readonly timeoutMs?: number | undefined } = {}): Transport {
  let base: URL;
  try {
    base = new URL(url);
  } catch (cause) {
    throw new WakefulError("bad_request", `"${url}" is not a URL such as http://127.0.0.1:7070.`, { cause });
  }
  if (base.protocol !== "http:" && base.protocol !== "https:")
    throw new WakefulError("bad_request", `"${url}" must begin with http:// or https://.`);
  const send = base.protocol === "https:" ? httpsRequest : httpRequest;
  const prefix = base.pathname.replace(/\/$/, "");
  // A URL keeps the brackets of an IPv6 address, a socket wants none.
  const hostname = base.hostname.replace(/^\[|\]$/g, "");
  return (request) =>
    exchange(
      send,
      { hostname, port: base.port, path: `${prefix}${request.path}`, headers: { host: base.host } },
      { request, where: base.origin, ...options },
    );
}

/** Over the daemon's Unix socket. */
export function socketTransport(socketPath: string, options: { readonly timeoutMs?: number | undefined } = {}): Transport {
  return (request) =>
    exchange(httpRequest, { socketPath, path: request.path, headers: { host: "localhost" } }, { request, where: socketPath, ...options });
}

interface Address {
  readonly hostname?: string;
  readonly port?: string;
  readonly socketPath?: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

interface Exchange {
  readonly request: TransportRequest;
  readonly where: string;
  /** How long the peer may stay silent before its answer begins. Default 30 000. */
  readonly timeoutMs?: number | undefined;
}

function exchange(send: typeof httpRequest, options: Address, { request, where, timeoutMs = 30_000 }: Exchange): Promise<TransportAnswer> {
  return new Promise((resolve, reject) => {
    const unreachable = (cause: Error): void => {
      if (request.signal?.aborted === true) reject(cause);
      else
        reject(new WakefulError("daemon_unreachable", `No daemon answers at ${where}: ${messageOf(cause)}`, { cause, details: { where } }));
    };
    const outgoing = send(
      {
        ...options,
        method: request.method,
        headers: {
          ...options.headers,
          ...request.headers,
          ...(request.body === undefined ? {} : { "content-length": String(Buffer.byteLength(request.body)) }),
        },
        signal: request.signal,
      },
      (answer) => {
        outgoing.setTimeout(0);
        resolve({ status: answer.statusCode ?? 0, chunks: readAnswer(answer, where) });
      },
    );
    outgoing.setTimeout(timeoutMs, () => outgoing.destroy(new Error(`no answer within ${timeoutMs} ms`)));
    outgoing.on("error", unreachable);
    outgoing.end(request.body);
  });
}

async function* readAnswer(answer: IncomingMessage, where: string): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of answer) yield chunk as Uint8Array;
  } catch (cause) {
    // The connection broke: what came so far has been passed on, the rest will not come.
    throw new WakefulError("daemon_unreachable", `The daemon at ${where} stopped answering: ${messageOf(cause)}`, {
      cause,
      details: { where },
    });
  }
}
