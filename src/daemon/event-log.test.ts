import { expect, test } from "vitest";
import { asInstant } from "../domain/time.ts";
import { type DaemonOutput, openEventLog } from "./event-log.ts";

const options = { store: { now: () => asInstant(0) }, log: { level: "info", json: true } } as const;

const outputTo = (lines: string[]): DaemonOutput => ({
  log: (line) => void lines.push(line),
  handlers: () => undefined,
  onDropped: () => undefined,
});

test("lines that nobody read are told of as soon as others are written", () => {
  const lines: string[] = [];
  let tell: (lines: number) => void = () => undefined;
  openEventLog({ ...options, output: { ...outputTo(lines), onDropped: (told) => (tell = told) }, exposedDirectory: undefined });
  tell(12);
  expect(lines.map((line) => JSON.parse(line))).toMatchObject([{ event: "log.dropped", level: "warn", lines: 12 }]);
});

test("the first line tells that others may look into the data directory, and why it is left so", () => {
  const lines: string[] = [];
  openEventLog({
    ...options,
    output: outputTo(lines),
    exposedDirectory: { path: "/data", mode: "0755", left: "it belongs to another user" },
  });
  expect(lines.map((line) => JSON.parse(line))).toMatchObject([
    { event: "data_dir.exposed", level: "warn", path: "/data", mode: "0755", reason: "it belongs to another user" },
  ]);
});

test("a closed data directory is no news", () => {
  const lines: string[] = [];
  openEventLog({ ...options, output: outputTo(lines), exposedDirectory: undefined });
  expect(lines).toEqual([]);
});
