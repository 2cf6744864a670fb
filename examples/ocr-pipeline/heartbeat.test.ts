import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

interface StepClient {
  moved(label: string): void;
  stillMoving(): void;
  stop(): void;
}

// The steps are plain JavaScript, so what the test needs of them is said here.
const { Step } = (await import(new URL("./steps/wakeful.js", import.meta.url).href)) as {
  Step: new (env: Record<string, string>) => StepClient;
};

let directory: string;
let step: StepClient;
const heartbeatFile = () => path.join(directory, "heartbeat");
const lastBeat = () => readFileSync(heartbeatFile(), "utf8");
const clearBeat = () => writeFileSync(heartbeatFile(), "");

beforeEach(() => {
  vi.useFakeTimers();
  directory = mkdtempSync(path.join(tmpdir(), "wakeful-beat-"));
  writeFileSync(path.join(directory, "input"), "{}");
  step = new Step({
    WAKEFUL_HEARTBEAT_FILE: heartbeatFile(),
    WAKEFUL_PROGRESS_FILE: path.join(directory, "progress"),
    WAKEFUL_INPUT_FILE: path.join(directory, "input"),
    WAKEFUL_WORK_DIR: directory,
    WAKEFUL_ITEM_KEY: "k1",
  });
});

afterEach(() => {
  step.stop();
  vi.useRealTimers();
  rmSync(directory, { recursive: true, force: true });
});

test("a step that waits for long work keeps beating [A-G3]", () => {
  step.moved("page 1 of 2");
  clearBeat();
  vi.advanceTimersByTime(60_000);
  expect(lastBeat()).toMatch(/ page 1 of 2\n$/);
});

test("a step in which nothing moves falls silent, so that its hang is found", () => {
  vi.advanceTimersByTime(180_000);
  clearBeat();
  vi.advanceTimersByTime(3_600_000);
  expect(lastBeat()).toBe("");
});

test("a small move is enough to be heard again", () => {
  vi.advanceTimersByTime(200_000);
  clearBeat();
  step.stillMoving();
  vi.advanceTimersByTime(5_000);
  expect(lastBeat()).toMatch(/ start\n$/);
});
