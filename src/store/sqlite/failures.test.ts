import { join } from "node:path";
import { DatabaseSync } from "@photostructure/sqlite";
import { expect, onTestFinished, test } from "vitest";
import { tempDir } from "../../../test/support/temp-dir.ts";
import { WakefulError } from "../../domain/errors.ts";
import { sqliteFailure } from "./failures.ts";

const thrown = (fields: Record<string, number>) => Object.assign(new Error("from the driver"), { code: "ERR_SQLITE_ERROR", ...fields });

test.each([
  ["a full disk", { errcode: 13 }, "disk_full", true],
  ["a write that ran out of space", { errcode: 10, sqliteExtendedCode: 778, systemErrno: 28 }, "disk_full", true],
  ["another I/O error", { errcode: 10, sqliteExtendedCode: 266, systemErrno: 5 }, "unavailable", true],
  ["a corrupt page", { errcode: 11 }, "store_corrupt", false],
  ["a file that is no database", { errcode: 26 }, "store_corrupt", false],
  ["a read-only file", { errcode: 8, sqliteExtendedCode: 1032 }, "store_read_only", false],
  ["a folder that does not exist", { errcode: 14 }, "store_read_only", false],
  ["another process that writes", { errcode: 5, sqliteExtendedCode: 261 }, "unavailable", true],
])("%s is told as %o", (_name, fields, code, retryable) => {
  expect(sqliteFailure(thrown(fields), "wakeful.db")).toMatchObject({ code, retryable });
});

test("a broken promise of the schema stays what it is: a defect", () => {
  const constraint = thrown({ errcode: 19 });
  expect(sqliteFailure(constraint, "wakeful.db")).toBe(constraint);
  const other = new TypeError("not of the driver");
  expect(sqliteFailure(other, "wakeful.db")).toBe(other);
});

test("the driver's errors have one form, whichever way a statement is run", () => {
  const path = join(tempDir("failures"), "small.db");
  const database = new DatabaseSync(path);
  onTestFinished(() => database.close());
  database.exec("create table t (a integer primary key, b text unique)");
  database.exec("pragma max_page_count = 4");
  const insert = "insert into t (b) values (?)";
  const large = "y".repeat(100_000);
  const codeOf = (run: () => unknown): unknown => {
    try {
      return run();
    } catch (thrown) {
      const failure = sqliteFailure(thrown, path);
      return failure instanceof WakefulError ? failure.code : failure;
    }
  };
  const ways = [
    (text: string) => database.prepare(insert).run(text),
    (text: string) => database.prepare(`${insert} returning a`).all(text),
    (text: string) => database.prepare(`${insert} returning a`).get(text),
    (text: string) => [...database.prepare(`${insert} returning a`).iterate(text)],
  ];
  for (const way of ways) expect(codeOf(() => way(large))).toBe("disk_full");
  database.prepare(insert).run("taken");
  for (const way of ways) expect(codeOf(() => way("taken"))).toBeInstanceOf(Error);
  const other = new DatabaseSync(path);
  onTestFinished(() => other.close());
  other.exec("begin immediate");
  for (const way of ways) expect(codeOf(() => way("short"))).toBe("unavailable");
});
