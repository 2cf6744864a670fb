import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { makeFifo } from "../../test/support/fifo.ts";
import { tempDir } from "../../test/support/temp-dir.ts";
import { asInstant } from "../domain/time.ts";
import type { OutboxRow } from "../store/port/records.ts";
import type { Emit } from "../telemetry/events.ts";
import { alertsFile, createAlertDeliverer } from "./alerts.ts";

const entry = (payload: unknown, key = "job.failed:7:1"): OutboxRow => ({
  id: 1,
  kind: "alert",
  key,
  payload: typeof payload === "string" ? payload : JSON.stringify(payload),
  attempts: 0,
  dueAt: asInstant(0),
  createdAt: asInstant(0),
  revision: 1,
  lastError: null,
  claimFence: 0,
});

function world(fileBytesMax?: number) {
  const dataDir = tempDir("alerts");
  const raised: unknown[] = [];
  const emit: Emit = (name, data) => {
    raised.push([name, data]);
  };
  const file = alertsFile(dataDir);
  const deliverer = createAlertDeliverer({ emit, file, now: () => asInstant(0), fileBytesMax });
  return { raised, file, deliver: async (row: OutboxRow) => await deliverer.deliver(row, new AbortController().signal) };
}

test("an alert goes to the event stream and to the file", async () => {
  const { raised, file, deliver } = world();
  const payload = { event: "job.failed", jobId: 7, queue: "p/prep", message: "exit code 1" };
  await deliver(entry(payload));
  const title = "job.failed (job 7 of p/prep): exit code 1";
  expect(raised).toEqual([["alert.raised", { cause: "job.failed:7:1", title, details: payload }]]);
  expect(JSON.parse(readFileSync(file, "utf8"))).toEqual({
    at: "1970-01-01T00:00:00.000Z",
    cause: "job.failed:7:1",
    title,
    details: payload,
  });
});

test("an alert with spoiled details is still an alert", async () => {
  const { raised, deliver } = world();
  await deliver(entry("{", "x"));
  expect(raised).toMatchObject([["alert.raised", { cause: "x", title: "x" }]]);
});

test("the file of alerts does not grow for ever", async () => {
  const { file, deliver } = world(300);
  for (let number = 0; number < 10; number++) await deliver(entry({ title: `alert ${number} ${"x".repeat(60)}` }));
  expect(readFileSync(file, "utf8").length).toBeLessThanOrEqual(300);
  expect(existsSync(`${file}.1`)).toBe(true);
  expect(readFileSync(file, "utf8")).toContain("alert 9");
});

test.each<[string, (file: string) => void]>([
  [
    "a link",
    (file) => {
      writeFileSync(`${file}.target`, "");
      symlinkSync(`${file}.target`, file);
    },
  ],
  ["a FIFO", makeFifo],
  ["a folder", mkdirSync],
])("%s in the place of the file fails the delivery at once, before anything is told, so that it comes again", async (_what, make) => {
  const { raised, file, deliver } = world();
  make(file);
  await expect(deliver(entry({ title: "x" }))).rejects.toMatchObject({ code: "not_a_file", path: file });
  expect(raised).toEqual([]);
  rmSync(file, { recursive: true });
  await deliver(entry({ title: "x" }));
  expect(raised).toHaveLength(1);
});

test("a folder in the place of the older file fails the delivery, and says which", async () => {
  const { file, deliver } = world(100);
  mkdirSync(`${file}.1`);
  await deliver(entry({ title: "x".repeat(80) }));
  await expect(deliver(entry({ title: "y".repeat(80) }))).rejects.toMatchObject({ code: "not_a_file", path: `${file}.1` });
});
