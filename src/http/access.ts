import type { FastifyRequest } from "fastify";
import { WakefulError } from "../domain/errors.ts";
import type { Access } from "../protocol/endpoint.ts";
import type { Tokens } from "./tokens.ts";

export interface AccessRules {
  readonly tokens: Tokens;
  /** Names, beside loopback, that requests may be addressed to: the listening address and the configured ones. */
  readonly allowedHosts: readonly string[];
}

const loopbackNames = ["127.0.0.1", "localhost", "[::1]"];

/**
 * Refuses what may not be answered, before a body is read. The order matters: a page of another site must not learn from the answer
 * whether it guessed a token.
 * @throws {WakefulError} `forbidden`, `unauthorized` or `unsupported_media_type`.
 */
export function checkAccess(request: FastifyRequest, { rules, access }: { readonly rules: AccessRules; readonly access: Access }): void {
  // Probes may use any address of the machine, and learn only whether it works.
  if (access === "public") return;
  checkHost(request.headers.host, rules);
  checkOrigin(request.headers.origin, request.headers.host);
  checkToken(request, { rules, access });
  // A form of another site can post without a preflight, but not with this type.
  if (request.method !== "GET" && request.method !== "HEAD" && !/^application\/json\s*(;|$)/i.test(request.headers["content-type"] ?? "")) {
    throw new WakefulError("unsupported_media_type", `${request.method} needs the header "content-type: application/json".`);
  }
}

/** Stops DNS rebinding: a foreign name that resolves to this machine is still refused. */
function checkHost(host: string | undefined, { allowedHosts }: AccessRules): void {
  const name = host === undefined ? undefined : hostName(host);
  const allowed = [...loopbackNames, ...allowedHosts.map((each) => hostName(each) ?? each.toLowerCase())];
  if (name === undefined || !allowed.includes(name)) {
    throw new WakefulError(
      "forbidden",
      `This daemon does not answer to the host ${JSON.stringify(host ?? "")}; add it to http.allowedHosts.`,
    );
  }
}

function checkOrigin(origin: string | undefined, host: string | undefined): void {
  if (origin === undefined) return;
  const sameOrigin = /^https?:\/\//.test(origin) && origin.replace(/^https?:\/\//, "").toLowerCase() === host?.toLowerCase();
  if (!sameOrigin) throw new WakefulError("forbidden", "Pages of other origins may not use this daemon.");
}

function checkToken(request: FastifyRequest, { rules, access }: { readonly rules: AccessRules; readonly access: Access }): void {
  const token = /^Bearer ([!-~]{1,500})$/i.exec(request.headers.authorization ?? "")?.[1];
  if (token === undefined) throw new WakefulError("unauthorized", 'This call needs a token: send "authorization: Bearer <token>".');
  if (rules.tokens.isAdmin(token)) return;
  const runId = rules.tokens.runOf(token);
  if (runId === undefined)
    throw new WakefulError(
      "unauthorized",
      "The token is not one of this daemon's: its own is in tokens/admin of its data directory, for WAKEFUL_TOKEN.",
    );
  const params = request.params as Readonly<Record<string, string | undefined>>;
  if (access !== "run" || params["id"] !== String(runId)) {
    throw new WakefulError("forbidden", "A run's token is good for that run's own signs of life only.");
  }
}

/** The name of a `Host` header without its port, lower case; undefined when it is no such header. */
function hostName(host: string): string | undefined {
  return /^(\[[0-9a-f:.]+\]|[^\s:/@[\]]+)(?::[0-9]{1,5})?$/i.exec(host)?.[1]?.toLowerCase();
}
