import type { Server } from "node:http";
import type { Socket } from "node:net";
import fastifySwagger from "@fastify/swagger";
import Fastify, { type FastifyInstance } from "fastify";
import { hasZodFastifySchemaValidationErrors, jsonSchemaTransform, serializerCompiler, validatorCompiler } from "fastify-type-provider-zod";
import { spanText } from "../domain/durations.ts";
import { hasCode, isWakefulError, messageOf, WakefulError } from "../domain/errors.ts";
import { isNestedTooDeep, nestingRule } from "../domain/json-nesting.ts";
import { api } from "../protocol/api/index.ts";
import { envelopeOf } from "../protocol/error-envelope.ts";
import { type AccessRules, checkAccess } from "./access.ts";
import { EventHistory } from "./event-history.ts";
import { mountStream } from "./mount.ts";
import { eventRoutes } from "./routes/events.ts";
import { itemRoutes } from "./routes/items.ts";
import { jobRoutes } from "./routes/jobs.ts";
import { leaseRoutes } from "./routes/leases.ts";
import { loopRoutes } from "./routes/loops.ts";
import { operationRoutes } from "./routes/operations.ts";
import { pipelineRoutes } from "./routes/pipelines.ts";
import { recordRoutes } from "./routes/records.ts";
import { runSessionRoutes } from "./routes/run-sessions.ts";
import { runRoutes } from "./routes/runs.ts";
import { settingsRoutes } from "./routes/settings.ts";
import { statusRoutes } from "./routes/status.ts";
import { workerRoutes } from "./routes/workers.ts";
import type { DaemonServices } from "./services.ts";

export interface AppOptions {
  readonly services: DaemonServices;
  /** `in-process`: whoever can call it has the data directory already (the command line reading a store without its daemon). */
  readonly access: AccessRules | "in-process";
  /** Begins every correlation id, so that ids of different starts differ. */
  readonly correlationPrefix: string;
  /** Events kept for streams that resume. Default 2000. */
  readonly eventsKept?: number | undefined;
}

const bodyLimitBytes = 1024 * 1024;
/** How long a request may take to arrive whole: a client that sends a byte a minute must not keep its connection. */
const requestTimeoutMs = 30_000;

/** No answer is a page, and no cache may keep one. */
const safeHeaders = { "x-content-type-options": "nosniff", "cache-control": "no-store" };

/** The API without a listener: routes, access, errors, OpenAPI. */
export async function buildApp({ services, access, correlationPrefix, eventsKept = 2000 }: AppOptions): Promise<FastifyInstance> {
  let requests = 0;
  const nextId = (): string => `${correlationPrefix}-${++requests}`;
  const app = Fastify({
    bodyLimit: bodyLimitBytes,
    forceCloseConnections: true,
    requestTimeout: requestTimeoutMs,
    genReqId: nextId,
    // A request without a host is refused like one with a foreign host, and in the same shape.
    http: { requireHostHeader: false },
    clientErrorHandler: (thrown, socket) => answerBrokenRequest(thrown, { socket, correlationId: nextId(), requestTimeoutMs }),
    // A malformed address fails before any route, hook or error handler.
    frameworkErrors: (thrown, request, reply) => {
      const { status, body } = envelopeOf(new WakefulError("bad_request", `The request is not valid: ${thrown.message}`), request.id);
      void reply.hijack();
      const text = JSON.stringify(body);
      const headers = { "content-type": "application/json; charset=utf-8", "content-length": Buffer.byteLength(text) };
      reply.raw.writeHead(status, { ...safeHeaders, "x-correlation-id": request.id, ...headers }).end(text);
    },
    routerOptions: { maxParamLength: 1000 },
  });
  answerOddRequests(app.server, { nextId, requestTimeoutMs });
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  acceptJsonOnly(app);

  app.addHook("onRequest", async (request, reply) => {
    // On the raw answer, because streams write to it directly.
    for (const [name, value] of Object.entries({ ...safeHeaders, "x-correlation-id": request.id })) reply.raw.setHeader(name, value);
    if (access !== "in-process") checkAccess(request, { rules: access, access: request.routeOptions.config?.access ?? "admin" });
  });
  app.addHook("onResponse", async (request, reply) => {
    services.metrics.observeRequest({
      method: request.method,
      route: request.routeOptions.url ?? "unknown",
      status: reply.statusCode,
      durationMs: reply.elapsedTime,
    });
  });
  app.setNotFoundHandler((request) => {
    throw new WakefulError(
      "not_found",
      `There is no ${request.method} ${request.url.split("?")[0] ?? ""}; /v1/openapi.json lists what there is.`,
    );
  });
  app.setErrorHandler((thrown, request, reply) => {
    const known = requestErrorOf(thrown, { bodyLimitBytes });
    if (known === undefined || known.code === "internal") {
      const text = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
      services.events.emit("defect.found", {
        where: `${request.method} ${request.routeOptions.url ?? "unknown"}`,
        message: `${request.id}: ${text}`,
      });
    }
    const { status, body } = envelopeOf(known ?? thrown, request.id);
    return reply.code(status).type("application/json; charset=utf-8").send(JSON.stringify(body));
  });

  await app.register(fastifySwagger, {
    openapi: {
      openapi: "3.1.0",
      info: { title: "Wakeful", version: services.daemon.version, description: "Errors have the shape and codes of docs/errors.md." },
      components: { securitySchemes: { token: { type: "http", scheme: "bearer" } } },
      security: [{ token: [] }],
    },
    transform: jsonSchemaTransform,
  });
  // Inside a plugin: the document collects routes as they are added, so it must be registered before them.
  await app.register(async (scope) => mountRoutes(scope, { services, eventsKept }));
  await app.ready();
  return app;
}

function mountRoutes(
  app: FastifyInstance,
  { services, eventsKept }: { readonly services: DaemonServices; readonly eventsKept: number },
): void {
  const history = new EventHistory({ bus: services.events, startSeq: services.daemon.startSeq, capacity: eventsKept });
  app.addHook("onClose", async () => history.close());
  itemRoutes(app, services);
  jobRoutes(app, services);
  runRoutes(app, services);
  runSessionRoutes(app, services);
  workerRoutes(app, services);
  pipelineRoutes(app, services);
  leaseRoutes(app, services);
  loopRoutes(app, services);
  operationRoutes(app, services);
  recordRoutes(app, services);
  settingsRoutes(app, services);
  eventRoutes(app, history);
  statusRoutes(app, services);
  mountStream(app, api.openapi, async (_call, _request, reply) => {
    await reply.send(app.swagger());
  });
}

/** Bodies are JSON or absent; keys that would reach into prototypes are refused. */
function acceptJsonOnly(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser("error", "error");
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/json", { parseAs: "string" }, (request, body, done) => {
    if (body === "") done(null, {});
    else if (isNestedTooDeep(body as string)) done(new WakefulError("bad_request", `The request is not valid: ${nestingRule}.`));
    // The parser of this name calls back; its type allows for parsers that answer a promise.
    // oxlint-disable-next-line typescript/no-floating-promises
    else parse(request, body as string, done);
  });
}

/**
 * Answers what Node would answer in another shape, or not at all: a proxy's CONNECT, and an unknown `Expect` header.
 * @param nextId - makes a correlation id.
 */
function answerOddRequests(
  server: Server,
  { nextId, requestTimeoutMs }: { readonly nextId: () => string; readonly requestTimeoutMs: number },
): void {
  const refuse = (socket: Socket, message: string): void =>
    answerBrokenRequest(new Error(message), { socket, correlationId: nextId(), requestTimeoutMs });
  server.on("connect", (_request, socket) => {
    // A client that has gone needs no answer, and is no defect of ours.
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
    return new WakefulError("bad_request", `The request did not arrive whole within ${spanText(requestTimeoutMs)}.`);
  return new WakefulError("bad_request", `This is no HTTP request: ${message}`);
}

/** Answers bytes that are no request in the shape of every other error, and ends the connection: nothing more on it can be trusted. */
function answerBrokenRequest(
  thrown: ParserError,
  {
    socket,
    correlationId,
    requestTimeoutMs,
  }: { readonly socket: Socket; readonly correlationId: string; readonly requestTimeoutMs: number },
): void {
  // The client has gone.
  if (hasCode(thrown, "ECONNRESET") || !socket.writable) {
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

/** The errors that Fastify itself raises about a request, as ours. Undefined: a defect, whose text the caller must not see. */
function requestErrorOf(thrown: unknown, { bodyLimitBytes }: { readonly bodyLimitBytes: number }): WakefulError | undefined {
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
