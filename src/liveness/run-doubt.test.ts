import { expect, test } from "vitest";
import { at, evidenceOf, HandDrivenJudge, runFacts } from "../../test/support/judged-run.ts";
import { addDeaf, newVantage, viewOf } from "./vantage.ts";

test("right after a deaf interval nobody is hung: who lives gets two renewals of time to be heard again", () => {
  const vantage = addDeaf(newVantage(), { from: at(750), to: at(800), cause: "suspended" });
  const judge = new HandDrivenJudge({ vantage: viewOf(vantage, "workers") });
  const run = runFacts({ limits: { heartbeatTimeoutMs: 600_000, maxRunningMs: 86_400_000 }, lastProgressAt: at(100) });
  // Silent for 650 s even without the deaf time, and yet not for certain.
  expect(judge.tick(run, evidenceOf(), at(800.001))).toMatchObject({ kind: "leave_alone", reason: "doubted" });
  expect(judge.tick(run, evidenceOf(), at(809.999)).kind).toBe("leave_alone");
  expect(judge.tick(run, evidenceOf(), at(810))).toMatchObject({ kind: "hung", silentMs: 660_000, deafMs: 50_000 });
});
