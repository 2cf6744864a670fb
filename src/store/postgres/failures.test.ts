import { expect, test } from "vitest";
import { mayRunAgain, postgresFailure } from "./failures.ts";

const thrown = (code: string | undefined, message = "from the server") =>
  Object.assign(new Error(message), code === undefined ? {} : { code });

test.each([
  ["a full disk", "53100", "disk_full", true],
  ["a server that only reads for now", "25006", "unavailable", true],
  ["a deadlock that outlasted every try", "40P01", "unavailable", true],
  ["a row held for too long", "55P03", "unavailable", true],
  ["a server that shuts down", "57P01", "unavailable", true],
  ["a statement that took too long", "57014", "unavailable", true],
  ["too many connections", "53300", "unavailable", true],
  ["a server out of memory", "53200", "unavailable", true],
  ["a limit of the server's configuration", "53400", "unavailable", true],
  ["a server that is starting or recovering", "57P03", "unavailable", true],
  ["a refused connection", "ECONNREFUSED", "unavailable", true],
])("%s is told as %s", (_name, sqlState, code, retryable) => {
  expect(postgresFailure(thrown(sqlState), "postgres://host/db")).toMatchObject({ code, retryable });
});

test("a write of an opening that only reads is the caller's mistake: it is not worth repeating", () => {
  expect(postgresFailure(thrown("25006"), "x", { readOnly: true })).toMatchObject({ code: "store_read_only", retryable: false });
});

test("the driver's own words about a lost connection become unavailable", () => {
  expect(postgresFailure(thrown(undefined, "Connection terminated unexpectedly"), "x")).toMatchObject({ code: "unavailable" });
});

test("a broken promise of the schema stays what it is: a defect", () => {
  const check = thrown("23514");
  expect(postgresFailure(check, "x")).toBe(check);
});

test("a transaction is begun again after a deadlock, a lock timeout or a race for the same row, and after nothing else", () => {
  expect(["40001", "40P01", "55P03", "23505"].map((code) => mayRunAgain(thrown(code)))).toEqual([true, true, true, true]);
  expect(["23514", "53100", "57014", undefined].map((code) => mayRunAgain(thrown(code)))).toEqual([false, false, false, false]);
  expect(mayRunAgain(postgresFailure(thrown("40P01"), "x")), "also as the store tells it").toBe(true);
});
