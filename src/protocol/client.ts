import { WakefulError } from "../domain/errors.ts";
import type { AnswerOf, CallOf, Endpoint } from "./endpoint.ts";
import { errorOfAnswer } from "./error-envelope.ts";
import { socketTransport, type Transport, urlTransport } from "./transport.ts";

export interface ClientOptions {
  /** Where the daemon is: a URL, its Unix socket, or a transport of one's own. Exactly one. */
  readonly url?: string | undefined;
  readonly socketPath?: string | undefined;
  readonly transport?: Transport | undefined;
  /** The admin token, or a run's. Absent: only `/healthz` and `/readyz` answer. */
  readonly token?: string | undefined;
  /** Who calls, for the action log: letters, digits and `._:@-`, at most 64. */
  readonly actor?: string | undefined;
  /** How long the daemon may stay silent before its answer begins. Default 30 000. */
  readonly timeoutMs?: number | undefined;
}

/** A caller of the API. Errors are `WakefulError`s with the code that the daemon answered, or `daemon_unreachable`. */
export interface Client {
  call<E extends Endpoint>(endpoint: E, call: CallOf<E>, options?: { readonly signal?: AbortSignal }): Promise<AnswerOf<E>>;
  /** For answers that go on, such as logs and events: their pieces as they come. `headers` for `last-event-id`. */
  stream<E extends Endpoint>(
    endpoint: E,
    call: CallOf<E>,
    options?: { readonly signal?: AbortSignal; readonly headers?: Readonly<Record<string, string>> },
  ): Promise<AsyncIterable<Uint8Array>>;
}

/** More than any list can need: a peer that sends more is not a daemon. */
const answerBytesMax = 64 * 2 ** 20;

export function createClient(options: ClientOptions): Client {
  const transport = transportOf(options);
  const send = async (endpoint: Endpoint, call: AnyCall, extra: { signal?: AbortSignal; headers?: Readonly<Record<string, string>> }) => {
    const writes = endpoint.method === "POST";
    const answer = await transport({
      method: endpoint.method,
      path: pathOf(endpoint, call),
      headers: {
        accept: "application/json",
        ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }),
        ...(options.actor === undefined ? {} : { "x-wakeful-actor": options.actor }),
        ...(writes ? { "content-type": "application/json" } : {}),
        ...extra.headers,
      },
      body: writes ? JSON.stringify(call.body ?? {}) : undefined,
      signal: extra.signal,
    });
    // Readiness answers 503 with an answer of its own; every other error has the envelope.
    if (answer.status >= 400 && endpoint.path !== "/readyz") throw errorOfAnswer(answer.status, parsed(await textOf(answer.chunks)));
    return answer;
  };
  return {
    async call(endpoint, call, extra = {}) {
      const answer = await send(endpoint, plainCall(call), extra);
      const text = await textOf(answer.chunks);
      const body = parsed(text);
      const checked = endpoint.answer.safeParse(body === undefined ? text : body);
      if (!checked.success) {
        throw new WakefulError(
          "internal",
          `The answer to ${endpoint.method} ${endpoint.path} has another shape than this client knows; are both of the same version?`,
          {
            details: { issues: checked.error.issues.slice(0, 5).map((issue) => `${issue.path.join(".")}: ${issue.message}`) },
          },
        );
      }
      return checked.data as AnswerOf<typeof endpoint>;
    },
    async stream(endpoint, call, extra = {}) {
      return (await send(endpoint, plainCall(call), extra)).chunks;
    },
  };
}

interface AnyCall {
  readonly params?: Readonly<Record<string, string | number | boolean>>;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly body?: unknown;
}

/** `CallOf` is exact for callers; inside, every call is the same three maps. */
const plainCall = (call: unknown): AnyCall => call as AnyCall;

function transportOf({ url, socketPath, transport, timeoutMs }: ClientOptions): Transport {
  if (transport !== undefined) return transport;
  if (socketPath !== undefined) return socketTransport(socketPath, { timeoutMs });
  if (url !== undefined) return urlTransport(url, { timeoutMs });
  throw new WakefulError("bad_request", "A client needs a url, a socketPath or a transport.");
}

function pathOf(endpoint: Endpoint, { params = {}, query = {} }: AnyCall): string {
  const path = endpoint.path.replace(/:(\w+)/g, (_, key: string) => {
    const value = params[key];
    if (value === undefined || value === "") throw new WakefulError("bad_request", `${endpoint.path} needs "${key}".`);
    return encodeURIComponent(String(value));
  });
  const search = new URLSearchParams(
    Object.entries(query).flatMap(([key, value]): [string, string][] => (value === undefined ? [] : [[key, String(value)]])),
  );
  return search.size === 0 ? path : `${path}?${search.toString()}`;
}

async function textOf(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > answerBytesMax) throw new WakefulError("internal", `The answer is longer than ${answerBytesMax} bytes.`);
    pieces.push(chunk);
  }
  return Buffer.concat(pieces).toString("utf8");
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Metrics and logs are no JSON; the caller decides whether that is wrong.
    return undefined;
  }
}
