import { messageOf, WakefulError } from "../../domain/errors.ts";
import { StoreUnavailableError } from "../port/errors.ts";

/** Authorisation was refused, or there is no such database: SQLSTATE classes 28 and 3D. */
const refused = /^(28|3D)[0-9A-Z]{3}$/;

/**
 * What kept a store from being opened, for whoever asked: unlike the daemon that has one and waits for its server, nobody tries again here.
 * Anything else as it is.
 */
export function openingFailure(thrown: unknown, store: string): unknown {
  const cause = thrown instanceof StoreUnavailableError ? thrown.cause : thrown;
  const code = cause instanceof Error ? (Reflect.get(cause, "code") as unknown) : undefined;
  // Tried under several addresses, a connection fails without a text of its own.
  const found = messageOf(cause) || String(code);
  if (typeof code === "string" && refused.test(code))
    return new WakefulError(
      "config_invalid",
      `${store} cannot be opened: ${found}. Check the user, the password and the database of its URL.`,
      {
        cause,
        details: { store },
      },
    );
  if (!(thrown instanceof StoreUnavailableError) || cause === undefined) return thrown;
  return new StoreUnavailableError(
    `${store} cannot be opened: ${found}. Check that its server runs, that the URL names its host and port, and that it can be reached from here; then start again.`,
    { cause, details: { store } },
  );
}
