import { hasZodFastifySchemaValidationErrors } from "fastify-type-provider-zod";
import { isWakefulError, messageOf, WakefulError } from "../domain/errors.ts";

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
