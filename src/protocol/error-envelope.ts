import { z } from "zod";
import { type ErrorCode, errorCodes } from "../domain/error-codes.ts";
import { isWakefulError, WakefulError } from "../domain/errors.ts";

/** The body of every answer that is an error. */
export const errorEnvelope = z.object({
  error: z.object({
    code: z.string(),
    message: z.string(),
    details: z.record(z.string(), z.unknown()),
    /** Stands in the daemon's log beside what went wrong. */
    correlationId: z.string(),
  }),
});
export type ErrorEnvelope = z.output<typeof errorEnvelope>;

/** The envelope and status of anything that was thrown. What is not an error of ours tells the caller nothing but the correlation id. */
export function envelopeOf(thrown: unknown, correlationId: string): { readonly status: number; readonly body: ErrorEnvelope } {
  const known = isWakefulError(thrown);
  const code: ErrorCode = known ? thrown.code : "internal";
  const message = known ? thrown.message : "The daemon failed to answer this request; its log tells more under the correlation id.";
  return {
    status: errorCodes[code].status,
    body: { error: { code, message, details: known ? { ...thrown.details } : {}, correlationId } },
  };
}

/** The error in an answer's body, as the server threw it; an answer in another shape becomes `internal` or `unavailable`. */
export function errorOfAnswer(status: number, body: unknown): WakefulError {
  const parsed = errorEnvelope.safeParse(body);
  if (!parsed.success) {
    return new WakefulError(
      status === 502 || status === 503 || status === 504 ? "unavailable" : "internal",
      `The server answered with status ${status} and no error of Wakeful's.`,
      {
        details: { status },
      },
    );
  }
  const { code, message, details, correlationId } = parsed.data.error;
  const known = Object.hasOwn(errorCodes, code);
  return new WakefulError(known ? (code as ErrorCode) : "internal", known ? message : `${message} (${code})`, {
    details: { ...details, correlationId },
  });
}
