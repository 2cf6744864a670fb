import { describe, expect, test } from "vitest";
import { at } from "../../test/support/judged-run.ts";
import { checkAgainAt, explain, mayStillLive, type RunVerdict } from "./verdict.ts";

const known = { exitCode: 0, ageMs: 600_000, limitMs: 300_000 } as const;
/** One verdict of every kind and reason, with what a person reads. */
const verdicts: readonly (readonly [RunVerdict, string])[] = [
  [{ kind: "leave_alone", reason: "no_limit_reached", nextCheckAt: at(1) }, "no sign of death, no limit reached"],
  [
    { kind: "leave_alone", reason: "doubted", nextCheckAt: at(1) },
    "a limit has passed, but the watcher may not have heard the signs of life; looked at again",
  ],
  [{ kind: "suspect", reason: "dead_pid", pid: 42, streak: 1, of: 2, recheckAt: at(1) }, "pid 42 looks dead (1 of 2 looks)"],
  [{ kind: "record_exit", reason: "exit_on_disk", status: 3 }, "the exit record on disk says status 3"],
  [
    { kind: "defer", reason: "finalising", exitCode: 0, ageMs: 5000, limitMs: 300_000, recheckAt: at(1) },
    "exit code 0 recorded 5 s ago, being finalised (grace 300 s)",
  ],
  [
    { kind: "defer", reason: "gate_pending", exitCode: 0, ageMs: 5500, limitMs: 600_000, recheckAt: at(1) },
    "exit code 0, its gate has been unreadable for 5.5 s (patience 600 s)",
  ],
  [
    { kind: "never_started", reason: "nogo", bySessionDeath: true, ageMs: 1 },
    "never started: its worker went away before it gave the word",
  ],
  [
    { kind: "never_started", reason: "not_named", bySessionDeath: false, ageMs: 1, limitMs: 30_000 },
    "never started: its worker has not named it (limit 30 s)",
  ],
  [{ kind: "never_started", reason: "not_named", bySessionDeath: false, ageMs: 1 }, "never started: its worker has not named it"],
  [{ kind: "never_started", reason: "not_held", bySessionDeath: false, ageMs: 1 }, "never started: its worker does not hold it"],
  [{ kind: "never_started", reason: "session_dead", bySessionDeath: true, ageMs: 1 }, "never started: its worker is dead"],
  [
    { kind: "never_started", reason: "session_silent", bySessionDeath: true, ageMs: 1, limitMs: 30_000 },
    "never started: its worker is silent (limit 30 s)",
  ],
  [{ kind: "never_started", reason: "dead_pid", bySessionDeath: true, ageMs: 1, pid: 42 }, "never started: pid 42 is dead"],
  [{ kind: "never_started", reason: "other_boot", bySessionDeath: true, ageMs: 1 }, "never started: its host was started again"],
  [
    { kind: "never_started", reason: "age_ceiling", bySessionDeath: false, ageMs: 61_000, limitMs: 60_000 },
    "never started: reserved for 61 s (limit 60 s)",
  ],
  [
    { kind: "never_started", reason: "wrapper_dead", bySessionDeath: true, ageMs: 1, pid: 42 },
    "never started: its wrapper (pid 42) died before a command started",
  ],
  [{ kind: "dead", outcome: "unknown", reason: "dead_pid", pid: 42, streak: 2, of: 2, lifePipe: "released" }, "dead pid 42 (2 looks)"],
  [
    { kind: "dead", outcome: "unknown", reason: "dead_pid", pid: 42, streak: 2, of: 2, lifePipe: "held" },
    "dead pid 42 (2 looks, strays of it still live)",
  ],
  [
    { kind: "dead", outcome: "unknown", reason: "other_boot", sinceHeardMs: 40_000, limitMs: 30_000 },
    "the host was started again; its session was last heard 40 s ago",
  ],
  [{ kind: "dead", outcome: "unknown", reason: "life_pipe_released" }, "nothing of the run holds its life pipe any more"],
  [
    { kind: "dead", outcome: "unknown", reason: "session_silent", silentMs: 31_000, deafMs: 60_000, limitMs: 30_000 },
    "worker silent for 31 s (limit 30 s, not counting 60 s in which it could not be heard)",
  ],
  [{ kind: "leave_alone", reason: "of_another_host", nextCheckAt: at(1) }, "its files are on another host, which looks after it"],
  [
    { kind: "dead", outcome: "unknown", reason: "host_silent", silentMs: 601_000, deafMs: 0, limitMs: 600_000 },
    "its host, which has its files, is silent for 601 s (limit 600 s)",
  ],
  [{ kind: "exited_known", reason: "finaliser_dead", ...known }, "exit code 0, its finaliser is dead"],
  [{ kind: "take_over", reason: "finalize_grace_over", ...known }, "exit code 0, not finalised for 600 s (grace 300 s)"],
  [
    { kind: "exited_known", reason: "gate_due", ...known },
    "exit code 0, its gate has been unreadable for 600 s and is read again (patience 300 s)",
  ],
  [
    { kind: "exited_known", reason: "gate_patience_over", ...known },
    "exit code 0, its gate has been unreadable for 600 s (patience 300 s is over)",
  ],
  [
    { kind: "orphaned_adopt", reason: "supervisor_dead", waitedMs: 10_000, limitMs: 30_000, recheckAt: at(1) },
    "alive without a supervisor, waiting to be adopted for 10 s of 30 s",
  ],
  [
    { kind: "stop_then_dead", reason: "not_adopted", waitedMs: 30_000, limitMs: 30_000 },
    "alive without a supervisor and not adopted for 30 s (limit 30 s)",
  ],
  [
    { kind: "hung", reason: "progress_stale", silentMs: 700_000, deafMs: 0, limitMs: 600_000 },
    "no progress for 700 s (heartbeat timeout 600 s)",
  ],
  [
    { kind: "hung", reason: "progress_absent", silentMs: 1_200_000, deafMs: 0, limitMs: 1_200_000 },
    "no heartbeat at all in 1200 s since the start (limit 1200 s)",
  ],
  [{ kind: "timed_out", reason: "timeout", ageMs: 7_260_001, limitMs: 7_200_000 }, "running for 7260 s, timeout 7200 s"],
  [{ kind: "over_age", reason: "age_ceiling", ageMs: 500_000, ceilingMs: 100_000 }, "running for 500 s, ceiling 100 s"],
  [
    { kind: "over_age", reason: "age_ceiling", ageMs: 500_000, ceilingMs: 100_000, exitCode: 1 },
    "running for 500 s, ceiling 100 s, exit code 1",
  ],
];

describe("verdicts", () => {
  for (const [verdict, text] of verdicts)
    test(`${verdict.kind} (${verdict.reason}) reads: ${text}`, () => expect(explain(verdict)).toBe(text));

  test("only verdicts that change nothing say when to look again", () => {
    const again = new Set(verdicts.filter(([verdict]) => checkAgainAt(verdict) !== undefined).map(([verdict]) => verdict.kind));
    expect([...again].sort()).toEqual(["defer", "leave_alone", "orphaned_adopt", "suspect"]);
  });

  test("a dead pid leaves what holds its life pipe, and a run over its ceiling is gone only once its exit is known", () => {
    const dead = { kind: "dead", outcome: "unknown", reason: "dead_pid", pid: 42, streak: 2, of: 2 } as const;
    expect((["held", "released", "unknown"] as const).map((lifePipe) => mayStillLive({ ...dead, lifePipe }))).toEqual([true, false, false]);
    const old = { kind: "over_age", reason: "age_ceiling", ageMs: 2, ceilingMs: 1 } as const;
    expect([mayStillLive(old), mayStillLive({ ...old, exitCode: 0 })]).toEqual([true, false]);
  });

  test("what may still live has to be proved stopped: everything that is not positively dead or exited", () => {
    const named = (answer: boolean) =>
      verdicts.filter(([verdict]) => mayStillLive(verdict) === answer).map(([verdict]) => `${verdict.kind} ${verdict.reason}`);
    expect(named(true).length + named(false).length).toBe(verdicts.length);
    expect([...new Set(named(true))]).toEqual([
      "never_started not_named",
      "never_started not_held",
      "never_started session_dead",
      "never_started session_silent",
      "never_started dead_pid",
      "never_started other_boot",
      "never_started age_ceiling",
      "never_started wrapper_dead",
      "dead dead_pid",
      "dead session_silent",
      "dead host_silent",
      "stop_then_dead not_adopted",
      "hung progress_stale",
      "hung progress_absent",
      "timed_out timeout",
      "over_age age_ceiling",
    ]);
  });
});
