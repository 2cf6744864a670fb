import { codeOf, isWakefulError, messageOf } from "../../domain/errors.ts";
import { BeginAgain } from "../engine/engine.ts";
import { DiskFullError, StoreContentError, StoreReadOnlyError, StoreUnavailableError } from "../port/errors.ts";

/** Somebody held a row for longer than lock_timeout. */
const lockNotAvailable = "55P03";
/** A transaction that ended with one of these did nothing, and may do well when it is begun again. */
const transient = new Set([
  "40001", // serialization_failure
  "40P01", // deadlock_detected
  lockNotAvailable,
]);
/** Two transactions made the same row at once: the second finds it when it begins again. */
const uniqueViolation = "23505";
const diskFull = new Set(["53100"]);
const readOnly = new Set(["25006"]);
/** Classes of "not this": data that no column takes, and what is too large. */
const contentClasses = new Set(["22", "54"]);
/** Classes of "not now": connection, resources, operator intervention (restart, failover, timeouts), system error. */
const unavailableClasses = new Set(["08", "53", "57", "58"]);

/** Whether a transaction that failed with this is worth beginning again at once. */
export function mayRunAgain(thrown: unknown): boolean {
  if (thrown instanceof BeginAgain) return true;
  const cause = isWakefulError(thrown) ? thrown.cause : thrown;
  const code = codeOf(cause);
  return code !== undefined && (transient.has(code) || code === uniqueViolation);
}

export function isLocked(thrown: unknown): boolean {
  return codeOf(isWakefulError(thrown) ? thrown.cause : thrown) === lockNotAvailable;
}

/** The server takes no writes over this connection. */
export function isReadOnly(thrown: unknown): boolean {
  return readOnly.has(codeOf(isWakefulError(thrown) ? thrown.cause : thrown) ?? "");
}

/**
 * Whatever the driver threw, as an error of ours where a caller can act on it; anything else as it is.
 *
 * @param opening.readOnly - whether we opened it for reading alone: then a refused write is the caller's mistake. Else the server has become
 * one that only reads (a standby, a switch-over, a provider's full disk), and writes again by itself.
 */
export function postgresFailure(thrown: unknown, store: string, opening: { readonly readOnly?: boolean | undefined } = {}): unknown {
  if (isWakefulError(thrown)) return thrown;
  if (thrown instanceof BeginAgain)
    return new StoreUnavailableError(`${store} is too busy with this row: ${thrown.message}`, { cause: thrown });
  const code = codeOf(thrown);
  const found = messageOf(thrown);
  if (code !== undefined && diskFull.has(code)) return new DiskFullError({ store, cause: thrown });
  if (code !== undefined && readOnly.has(code)) {
    if (opening.readOnly === true) return new StoreReadOnlyError({ store, found, cause: thrown });
    return new StoreUnavailableError(`${store} only answers reads now: ${found}. It is tried again by itself.`, {
      cause: thrown,
      details: { store, readOnly: true },
    });
  }
  if (code !== undefined && contentClasses.has(code.slice(0, 2))) return new StoreContentError({ store, found, cause: thrown });
  if (isUnavailable(code, found)) {
    return new StoreUnavailableError(`${store} does not answer: ${found}. It is tried again by itself.`, {
      cause: thrown,
      details: { store },
    });
  }
  return thrown;
}

function isUnavailable(code: string | undefined, message: string): boolean {
  if (code !== undefined) return transient.has(code) || unavailableClasses.has(code.slice(0, 2)) || /^E[A-Z]{4,}$/.test(code);
  // The driver's own errors about a lost or unreachable server have no code.
  return /connection terminated|connection timeout|timeout exceeded when trying to connect|Client has encountered a connection error/i.test(
    message,
  );
}
