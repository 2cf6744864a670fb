import type { z } from "zod";

/** Who may call: anybody, whoever has the admin token, or the run that the path names (the admin too). */
export type Access = "public" | "admin" | "run";

/** One call of the API, as data: server, client and the OpenAPI document are all made from it, so they cannot disagree. */
export interface Endpoint {
  readonly method: "GET" | "POST";
  /** With `:name` for path parameters, as in `/v1/items/:id`. */
  readonly path: string;
  readonly tag: string;
  readonly summary: string;
  readonly access: Access;
  readonly params?: z.ZodObject;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodType;
  readonly answer: z.ZodType;
}

/** Declares an endpoint and keeps its exact types. */
export const endpoint = <const E extends Endpoint>(definition: E): E => definition;

type Part<E, Name extends string> = E extends { readonly [K in Name]: infer S extends z.ZodType } ? z.output<S> : undefined;

/** What a handler gets: every part checked and converted. */
export interface CheckedCall<E extends Endpoint> {
  readonly params: Part<E, "params">;
  readonly query: Part<E, "query">;
  readonly body: Part<E, "body">;
}

export type AnswerOf<E extends Endpoint> = z.output<E["answer"]>;

type Loose<S> = S extends z.ZodType
  ? { readonly [K in keyof z.input<S>]: string | number | boolean | Extract<z.input<S>[K], undefined> }
  : never;

/** What a caller gives: path and query parts as plain values, the body as its schema takes it. */
export type CallOf<E extends Endpoint> = (E extends { readonly params: infer S }
  ? { readonly params: Loose<S> }
  : { readonly params?: undefined }) &
  (E extends { readonly query: infer S } ? { readonly query?: Loose<S> } : { readonly query?: undefined }) &
  (E extends { readonly body: infer S extends z.ZodType } ? { readonly body: z.input<S> } : { readonly body?: undefined });
