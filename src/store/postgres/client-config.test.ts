import { inspect } from "node:util";
import { expect, test } from "vitest";
import { isWakefulError } from "../../domain/errors.ts";
import { postgresTarget } from "./client-config.ts";

test.each([
  "postgres://u:hunter2@h:99999/db",
  "postgres://u:hunter2@h/db?schema=Bad-Name",
  "postgres://u:hunter2 w@[::/db",
  "postgres://u:hunter2@h/db?sslrootcert=/nonexistent/root.pem",
])("%s is refused with a typed error that nowhere holds the password", (url) => {
  let thrown: unknown;
  try {
    postgresTarget({ url });
  } catch (error) {
    thrown = error;
  }
  expect(isWakefulError(thrown) && thrown.code).toBe("config_invalid");
  expect(inspect(thrown, { depth: 9, showHidden: true })).not.toContain("hunter2");
});
