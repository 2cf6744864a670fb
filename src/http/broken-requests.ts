import type { Server } from "node:http";
import type { Socket } from "node:net";
import { hasZodFastifySchemaValidationErrors } from "fastify-type-provider-zod";
import { isWakefulError, messageOf, WakefulError } from "../domain/errors.ts";
import { envelopeOf } from "../protocol/error-envelope.ts";

/**
 * Answers what Node would answer by itself, without our shape or with nothing: a proxy's CONNECT, and an expectation that is none of HTTP's.
 * @param nextId - of a correlation id.
 */
export function answerOddRequests(
  server: Server,
  { nextId, requestTimeoutMs }: { readonly nextId: () => string; readonly requestTimeoutMs: number },
): void {
  const refuse = (socket: Socket, message: string): void =>
    answerBrokenRequest(new Error(message), { socket, correlationId: nextId(), requestTimeoutMs });
  server.on("connect", (_request, socket) => {
    // Whoever has gone is not to be answered, and no defect of ours.
    socket.on("error", () => socket.destroy());
    refuse(socket as Socket, "this is no proxy");
  });
  server.on("checkExpectation", (request) => refuse(request.socket, "the only expectation is 100-continue"));
}

/** What Node's HTTP parser says of bytes that never became a request. */
interface ParserError extends Error {
  readonly code?: string;
}

function brokenRequestOf({ code, message }: ParserError, requestTimeoutMs: number): WakefulError {
  if (code === "HPE_HEADER_OVERFLOW") return new WakefulError("payload_too_large", "The request's address and headers are too long.");
  if (code === "ERR_HTTP_REQUEST_TIMEOUT")
    return new WakefulError("bad_request", `The request did not arrive whole within ${requestTimeoutMs / 1000} s.`);
  return new WakefulError("bad_request", `This is no HTTP request: ${message}`);
}

/** Answers, in the shape of every other error, what could not be read as a request, and ends the connection: nothing more in it can be trusted. */
export function answerBrokenRequest(
  thrown: ParserError,
  {
    socket,
    correlationId,
    requestTimeoutMs,
  }: { readonly socket: Socket; readonly correlationId: string; readonly requestTimeoutMs: number },
): void {
  // Nobody is there any more to be answered.
  if (thrown.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  const { status, body } = envelopeOf(brokenRequestOf(thrown, requestTimeoutMs), correlationId);
  const text = JSON.stringify(body);
  const head = [
    `HTTP/1.1 ${status} Refused`,
    "content-type: application/json; charset=utf-8",
    `content-length: ${Buffer.byteLength(text)}`,
    `x-correlation-id: ${correlationId}`,
    "connection: close",
  ];
  socket.end(`${head.join("\r\n")}\r\n\r\n${text}`);
}

/** The errors that Fastify itself raises about a request, as ours. Undefined: a defect, of which the caller is told nothing. */
export function requestErrorOf(thrown: unknown, { bodyLimitBytes }: { readonly bodyLimitBytes: number }): WakefulError | undefined {
  if (isWakefulError(thrown)) return thrown;
  if (hasZodFastifySchemaValidationErrors(thrown)) {
    const issues = thrown.validation.map(({ instancePath, message }) => ({
      field: [thrown.validationContext, ...instancePath.split("/").filter((step) => step !== "")].join("."),
      rule: message ?? "is not valid",
    }));
    const text = issues.slice(0, 5).map(({ field, rule }) => `${field}: ${rule}`);
    return new WakefulError("bad_request", `The request is not valid: ${text.join("; ")}`, { details: { issues } });
  }
  if (!(thrown instanceof Error) || !("statusCode" in thrown) || typeof thrown.statusCode !== "number") return undefined;
  if (thrown.statusCode === 413)
    return new WakefulError("payload_too_large", `A request may hold at most ${bodyLimitBytes} bytes.`, { details: { bodyLimitBytes } });
  if (thrown.statusCode === 415)
    return new WakefulError("unsupported_media_type", 'Bodies are JSON: send the header "content-type: application/json".');
  if (thrown.statusCode === 404) return new WakefulError("not_found", messageOf(thrown));
  if (thrown.statusCode >= 400 && thrown.statusCode < 500)
    return new WakefulError("bad_request", `The request is not valid: ${messageOf(thrown)}`);
  return undefined;
}
