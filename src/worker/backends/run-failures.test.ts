import { expect, test } from "vitest";
import type { NotStartedCause } from "../worker-backend.ts";
import { failureOf } from "./run-failures.ts";

const handlerRun = { kind: "handler", limits: { maxRunningMs: 1e6, timeoutMs: 60_000 } } as const;
const commandRun = { ...handlerRun, kind: "command" } as const;

test("a permanent error fails the job whatever its budget says; another one leaves it to the budget", () => {
  expect(failureOf({ kind: "threw", message: "never", permanent: true }, handlerRun)).toEqual({
    outcome: { kind: "failed", reason: "never", disposition: "fail" },
    reason: "permanent_error",
  });
  expect(failureOf({ kind: "threw", message: "not yet", permanent: false }, handlerRun)).toEqual({
    outcome: { kind: "failed", reason: "not yet" },
    reason: "handler_error",
  });
});

test("an output that cannot be kept is no error of the handler's own words", () => {
  expect(failureOf({ kind: "bad_output", why: "its output is a function" }, handlerRun)).toEqual({
    outcome: { kind: "bad_output", reason: "bad_output: its output is a function" },
    reason: "bad_output",
  });
});

test("what a person interrupted is told apart from what a worker handed back", () => {
  expect(failureOf({ kind: "released", why: "ctrl-c", byPerson: true }, commandRun)).toMatchObject({ reason: "interrupted" });
  expect(failureOf({ kind: "released", why: "it shut down" }, commandRun)).toEqual({
    outcome: { kind: "released", reason: "it shut down" },
    reason: "released",
  });
});

test("a timeout is told in seconds, of a command with what was allowed", () => {
  const ending = { kind: "timed_out", afterMs: 61_400 } as const;
  expect(failureOf(ending, commandRun).outcome).toEqual({ kind: "timed_out", reason: "running for 61 s, timeout 60 s" });
  expect(failureOf(ending, handlerRun).outcome).toEqual({ kind: "timed_out", reason: "ran into its timeout after 61 s" });
});

test.each<[NotStartedCause, string, object]>([
  ["failed", "start_failed", { kind: "failed", reason: "why" }],
  ["machine", "start_prevented", { kind: "never_started", reason: "why", bySessionDeath: false }],
  ["unavailable", "start_failed", { kind: "never_started", reason: "why", bySessionDeath: false }],
  ["run_dir_exists", "run_dir_exists", { kind: "never_started", reason: "why", bySessionDeath: false }],
  ["no_go", "nogo", { kind: "never_started", reason: "why", bySessionDeath: true }],
  ["abandoned", "never_began", { kind: "cancelled", reason: "why" }],
])("a run that was not started for the cause %s is told as %s", (cause, reason, outcome) => {
  expect(failureOf({ kind: "not_started", cause, why: "why" }, commandRun)).toEqual({ outcome, reason });
});
