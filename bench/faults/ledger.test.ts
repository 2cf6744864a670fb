import { appendFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { tempDir } from "../../test/support/temp-dir.ts";
import { executionsOf, Ledger, type LedgerEntry } from "./ledger.ts";

const entry = (is: LedgerEntry["is"], run: number, pid: number, at: number): LedgerEntry => ({
  is,
  by: "command",
  job: 1,
  run,
  attempt: 1,
  pid,
  at,
});

test("lines are read as they come, and half a line waits for its other half", () => {
  const path = join(tempDir("ledger"), "ledger");
  writeFileSync(path, "");
  const ledger = new Ledger(path);
  expect(ledger.read()).toEqual([]);
  const [one, two] = [JSON.stringify(entry("begin", 1, 10, 1)), JSON.stringify(entry("end", 1, 10, 2))];
  appendFileSync(path, `${one}\n${two.slice(0, 5)}`);
  expect(ledger.read()).toHaveLength(1);
  appendFileSync(path, `${two.slice(5)}\n`);
  expect(ledger.read()).toEqual([entry("begin", 1, 10, 1), entry("end", 1, 10, 2)]);
});

test("begins and ends are paired by run and process", () => {
  const executions = executionsOf([
    entry("begin", 1, 10, 1),
    entry("begin", 2, 11, 1.5),
    entry("stopped", 2, 11, 2),
    entry("end", 1, 10, 3),
    entry("begin", 3, 10, 4),
  ]);
  expect(executions.map(({ run, endedAt, stopped }) => [run, endedAt, stopped])).toEqual([
    [1, 3, false],
    [2, 2, true],
    [3, undefined, false],
  ]);
});

test("an end without a begin is not dropped", () => {
  expect(executionsOf([entry("end", 1, 10, 1)])).toMatchObject([{ run: 1, endedAt: 1, beganAt: Number.POSITIVE_INFINITY }]);
});
