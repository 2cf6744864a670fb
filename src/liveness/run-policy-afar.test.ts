import { describe, expect, test } from "vitest";
import { at, evidenceOf, HandDrivenJudge, processEvidence, runFacts, wideAwake } from "../../test/support/judged-run.ts";
import { isAlarming, type RunEvidence } from "./evidence.ts";

const once = (...given: Parameters<HandDrivenJudge["tick"]>) => new HandDrivenJudge().tick(...given);
const longCeiling = { limits: { maxRunningMs: 86_400_000 } };

describe("tier 1h: a run whose files are on another host", () => {
  const seen = (evidence: Partial<RunEvidence> = {}) =>
    evidenceOf({
      disk: "elsewhere",
      process: processEvidence("unknown", { unknownBecause: "foreignHost" }),
      lifePipe: "unknown",
      supervisor: "dead",
      ...evidence,
    });

  test("is left to its host, whatever is known here of its supervisor and its process, until that host is silent for ten minutes [F-9.10]", () => {
    const dead = seen({ process: processEvidence("dead") });
    for (const evidence of [seen(), dead]) {
      expect(once(runFacts(longCeiling), evidence, at(570))).toEqual({
        kind: "leave_alone",
        reason: "of_another_host",
        nextCheckAt: at(600),
      });
      expect(once(runFacts(longCeiling), evidence, at(100))).toMatchObject({ reason: "of_another_host", nextCheckAt: at(130) });
      expect(once(runFacts(longCeiling), evidence, at(600))).toEqual({
        kind: "dead",
        outcome: "unknown",
        reason: "host_silent",
        silentMs: 600_000,
        deafMs: 0,
        limitMs: 600_000,
      });
    }
  });

  test("is never given up while this kernel sees its process alive", () => {
    const alive = seen({ process: processEvidence("alive") });
    expect(once(runFacts(longCeiling), alive, at(4000))).toEqual({
      kind: "leave_alone",
      reason: "of_another_host",
      nextCheckAt: at(4030),
    });
  });

  test("has no heartbeat here: its signs of life are on its host's disk", () => {
    expect(once(runFacts({ limits: { heartbeatTimeoutMs: 60_000 } }), seen(), at(500)).kind).toBe("leave_alone");
  });

  test("that has exited is not finalised here, and no age of it counts", () => {
    const exited = runFacts({ state: "exited", exitCode: 0, exitedAt: at(1), limits: { maxRunningMs: 1000 } });
    expect(once(exited, seen(), at(599)).kind).toBe("leave_alone");
    expect(once(exited, seen(), at(600))).toMatchObject({ kind: "dead", reason: "host_silent" });
  });

  test("keeps its own timeout", () => {
    expect(once(runFacts({ limits: { timeoutMs: 60_000 } }), seen(), at(121))).toMatchObject({ kind: "timed_out" });
  });

  test("is no alarm, so that nobody looks at it before its time", () => {
    expect(isAlarming(seen({ process: processEvidence("dead") }))).toBe(false);
  });

  test("waits twice as long in limited mode, and in frozen mode silence proves nothing", () => {
    const limited = new HandDrivenJudge({ vantage: { ...wideAwake, mode: "limited" } });
    expect(limited.tick(runFacts(longCeiling), seen(), at(1199)).kind).toBe("leave_alone");
    expect(limited.tick(runFacts(longCeiling), seen(), at(1200)).kind).toBe("dead");
    const frozen = new HandDrivenJudge({ vantage: { ...wideAwake, mode: "frozen" } });
    expect(frozen.tick(runFacts(longCeiling), seen(), at(6000)).kind).toBe("leave_alone");
  });
});
