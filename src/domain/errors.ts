import { type ErrorCode, errorCodes } from "./error-codes.ts";

/**
 * The base of every error that a caller can act on. Match on `code`, never on text and never by `instanceof` across packages.
 */
export class WakefulError extends Error {
  override readonly name: string = "WakefulError";
  /** Stable: part of the HTTP and CLI contract, listed in docs/errors.md. */
  readonly code: ErrorCode;
  /** Whether the same call may succeed later without a change by the caller. */
  readonly retryable: boolean;
  /** Facts for programs: ids, limits, positions. Never payloads or secrets. */
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    code: ErrorCode,
    message: string,
    options: ErrorOptions & {
      details?: Readonly<Record<string, unknown>> | undefined;
    } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = errorCodes[code].retryable;
    this.details = options.details ?? {};
  }
}

/** Whether `value` is an error of ours, also when another copy of the package made it. */
export function isWakefulError(value: unknown): value is WakefulError {
  return value instanceof Error && "code" in value && typeof value.code === "string" && Object.hasOwn(errorCodes, value.code);
}

const refusals: ReadonlySet<string> = new Set(["bad_request", "forbidden", "not_found"]);

/** Whether the same call fails for the same cause, however often it is repeated. */
export const isRefusal = (thrown: unknown): boolean => isWakefulError(thrown) && refusals.has(thrown.code);

/** The text of anything that was thrown, for evidence and logs. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** Whether what was thrown is an error of Node or the operating system with one of these codes, such as `ENOENT`. */
export function hasCode(thrown: unknown, ...codes: readonly string[]): boolean {
  const code = codeOf(thrown);
  return code !== undefined && codes.includes(code);
}

/** The code of an error of Node, the operating system or a driver; undefined for anything else. */
export function codeOf(thrown: unknown): string | undefined {
  return thrown instanceof Error && "code" in thrown && typeof thrown.code === "string" ? thrown.code : undefined;
}
