import { expect, test } from "vitest";
import { asInstant } from "../domain/time.ts";
import { openEventLog } from "./event-log.ts";

const options = { store: { now: () => asInstant(0) }, log: { level: "info", json: true } } as const;

test("the first line tells that others may look into the data directory, and why it is left so", () => {
  const lines: string[] = [];
  openEventLog({
    ...options,
    writeLog: (line) => lines.push(line),
    exposedDirectory: { path: "/data", mode: "0755", left: "it belongs to another user" },
  });
  expect(lines.map((line) => JSON.parse(line))).toMatchObject([
    { event: "data_dir.exposed", level: "warn", path: "/data", mode: "0755", reason: "it belongs to another user" },
  ]);
});

test("a closed data directory is no news", () => {
  const lines: string[] = [];
  openEventLog({ ...options, writeLog: (line) => lines.push(line), exposedDirectory: undefined });
  expect(lines).toEqual([]);
});
