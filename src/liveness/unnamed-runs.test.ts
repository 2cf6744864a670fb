import { describe, expect, test } from "vitest";
import { at, evidenceOf, HandDrivenJudge, processEvidence, runFacts } from "../../test/support/judged-run.ts";

const longCeiling = { limits: { maxRunningMs: 86_400_000 } };

describe("tier 1n: started, and its worker knows nothing of it", () => {
  const handler = { kind: "handler", ...longCeiling } as const;
  const disowned = (second: number) =>
    evidenceOf({ process: processEvidence("alive", { role: "host" }), report: { kind: "doesNotHold", at: at(second) } });
  const heard = (second: number, facts: Parameters<typeof runFacts>[0] = {}) =>
    runFacts({ ...handler, session: { heardAt: at(second), channel: "throughMe" }, ...facts });
  const judgedEach5s = (judge: HandDrivenJudge, from: number, to: number, facts = {}) => {
    let verdict = judge.tick(heard(from, facts), disowned(from), at(from));
    for (let second = from + 5; second <= to; second += 5) verdict = judge.tick(heard(second, facts), disowned(second), at(second));
    return verdict;
  };

  test("renewals for 30 s that do not name it end it as forgotten [F-9.4]", () => {
    expect(judgedEach5s(new HandDrivenJudge(), 100, 125)).toMatchObject({ kind: "leave_alone" });
    expect(judgedEach5s(new HandDrivenJudge(), 100, 130)).toEqual({
      kind: "forgotten",
      reason: "not_named",
      unnamedMs: 30_000,
      limitMs: 30_000,
    });
  });

  test("time without renewals does not count: that is silence, and another row's [F-9.4]", () => {
    const judge = new HandDrivenJudge();
    judgedEach5s(judge, 100, 125);
    expect(judge.tick(heard(125), disowned(125), at(9000)).kind).toBe("leave_alone");
    expect(judge.tick(heard(9001), disowned(9001), at(9001)).kind).toBe("forgotten");
  });

  test("one renewal that names it begins the count anew, and so does a judge that remembers nothing [F-9.4]", () => {
    const judge = new HandDrivenJudge();
    judgedEach5s(judge, 100, 125);
    judge.tick(heard(126), evidenceOf({ report: { kind: "holds", at: at(126) } }), at(126));
    expect(judgedEach5s(judge, 130, 155).kind).toBe("leave_alone");
    expect(judgedEach5s(new HandDrivenJudge(), 155, 180).kind).toBe("leave_alone");
    expect(judgedEach5s(judge, 160, 160).kind).toBe("forgotten");
  });

  test("commands, exits on record, claims on their way and what was said before the start are no case of it [F-9.4]", () => {
    expect(judgedEach5s(new HandDrivenJudge(), 100, 900, { kind: "command" }).kind).toBe("leave_alone");
    expect(judgedEach5s(new HandDrivenJudge(), 100, 200, { state: "exited", exitCode: 0, exitedAt: at(100) }).kind).toBe("defer");
    const judge = new HandDrivenJudge();
    const onItsWay = evidenceOf({ report: { kind: "notNamed", since: at(0) } });
    for (let second = 100; second < 900; second += 5) expect(judge.tick(heard(second), onItsWay, at(second)).kind).toBe("leave_alone");
    expect(judgedEach5s(new HandDrivenJudge(), 100, 140, { startedAt: at(120) }).kind).toBe("leave_alone");
  });
});
