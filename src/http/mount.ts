import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import { WakefulError } from "../domain/errors.ts";
import { isStorable } from "../domain/storable-text.ts";
import type { Access, AnswerOf, CheckedCall, Endpoint } from "../protocol/endpoint.ts";
import { anyJson } from "../protocol/wire.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    access?: Access;
  }
}

/** Answers may be the store's own frozen rows. */
type Frozen<T> = T extends (infer Member)[]
  ? readonly Frozen<Member>[]
  : T extends object
    ? { readonly [Key in keyof T]: Frozen<T[Key]> }
    : T;

export interface RequestCaller {
  /** For the action log. */
  readonly actor: string;
  readonly correlationId: string;
}

/** The answer of commands that have nothing more to say. */
export const doneAnswer = { done: true } as const;

/** Serves one endpoint: its parts are checked before `handle` gets them, and its answer against the schema. */
export function mount<E extends Endpoint>(
  app: FastifyInstance,
  endpoint: E,
  handle: (call: CheckedCall<E>, caller: RequestCaller, reply: FastifyReply) => Promise<Frozen<AnswerOf<E>>>,
): void {
  app.route({
    ...routeOf(endpoint),
    schema: { ...schemaOf(endpoint), response: { 200: endpoint.answer } },
    preHandler: async (request) => refuseUnstorable(endpoint, request),
    handler: (request, reply) => handle(callOf<E>(request), callerOf(request), reply),
  });
}

/** Serves an endpoint whose answer is no JSON: `handle` sends it by itself. */
export function mountStream<E extends Endpoint>(
  app: FastifyInstance,
  endpoint: E,
  handle: (call: CheckedCall<E>, request: FastifyRequest, reply: FastifyReply) => Promise<void> | void,
): void {
  app.route({
    ...routeOf(endpoint),
    schema: schemaOf(endpoint),
    preHandler: async (request) => refuseUnstorable(endpoint, request),
    handler: async (request, reply) => {
      await handle(callOf<E>(request), request, reply);
      return reply;
    },
  });
}

const routeOf = ({ method, path, access }: Endpoint) => ({ method, url: path, config: { access } });

/** Leaves absent parts out: Fastify warns at start of a part that is there but undefined. */
const schemaOf = ({ tag, summary, access, params, query, body }: Endpoint) => ({
  tags: [tag],
  summary,
  ...(access === "public" ? { security: [] } : {}),
  ...(params === undefined ? {} : { params }),
  ...(query === undefined ? {} : { querystring: query }),
  ...(body === undefined ? {} : { body }),
});

/** Fastify has run the endpoint's own schemas over these parts before the handler; its types cannot say so for a generic endpoint. */
function callOf<E extends Endpoint>(request: FastifyRequest): CheckedCall<E> {
  return { params: request.params, query: request.query, body: request.body } as CheckedCall<E>;
}

/**
 * Texts that a store changes are refused, whatever they are. JSON values are not looked into: they are kept as JSON texts, whose escapes any
 * store takes.
 *
 * @throws {WakefulError} `bad_request`
 */
function refuseUnstorable({ body: schema }: Endpoint, { params, query, body }: FastifyRequest): void {
  const field = badText("params", params) ?? badText("query", query) ?? badText("body", body, schema);
  if (field === undefined) return;
  throw new WakefulError("bad_request", `The request is not valid: ${field}: holds a NUL or half a surrogate pair, which no store keeps`, {
    details: { field },
  });
}

/** The first text that cannot be stored, by its path. */
function badText(field: string, value: unknown, schema?: z.ZodType): string | undefined {
  if (typeof value === "string") return isStorable(value) ? undefined : field;
  if (typeof value !== "object" || value === null) return undefined;
  for (const [key, member] of Object.entries(value)) {
    // Its own text is shown escaped.
    if (!isStorable(key)) return `${field}.${JSON.stringify(key)}`;
    if (isAnyJson(schema, key)) continue;
    const bad = badText(`${field}.${key}`, member);
    if (bad !== undefined) return bad;
  }
  return undefined;
}

function isAnyJson(schema: z.ZodType | undefined, key: string): boolean {
  if (schema instanceof z.ZodRecord) return schema.valueType === anyJson;
  const member: unknown = schema instanceof z.ZodObject ? schema.shape[key] : undefined;
  return member === anyJson || (member instanceof z.ZodOptional && member.unwrap() === anyJson);
}

function callerOf(request: FastifyRequest): RequestCaller {
  const named = request.headers["x-wakeful-actor"];
  const actor = typeof named === "string" && /^[\w.:@-]{1,64}$/.test(named) ? named : "api";
  return { actor, correlationId: request.id };
}
