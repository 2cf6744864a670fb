import { expect, test } from "vitest";
import { at, evidenceOf, HandDrivenJudge, processEvidence, runFacts } from "../../test/support/judged-run.ts";
import { explain } from "./verdict.ts";

test("a dead command is left to its living wrapper, which records how it ended, for 120 s from the first dead look [F-9.3]", () => {
  const dead = (startTime: string) =>
    evidenceOf({ process: processEvidence("dead", { startTime }), lifePipe: "unknown", supervisor: "unknown", wrapper: "alive" });
  const judge = new HandDrivenJudge();
  const looks = (startTime: string, ...seconds: readonly number[]) =>
    seconds.map((second) => judge.tick(runFacts(), dead(startTime), at(second)).kind);
  expect(looks("77", 1, 2, 120.999, 121)).toEqual(["suspect", "suspect", "suspect", "dead"]);
  expect(looks("78", 122, 123, 241.999, 242), "another process has its own 120 s").toEqual(["suspect", "suspect", "suspect", "dead"]);
  expect(judge.tick(runFacts(), { ...dead("78"), wrapper: "dead" }, at(243)).kind).toBe("dead");
});

test("once its death is proved, the record is looked for each second, and the words say what is waited for [F-9.3]", () => {
  const dead = evidenceOf({ process: processEvidence("dead"), lifePipe: "unknown", supervisor: "unknown", wrapper: "alive" });
  const judge = new HandDrivenJudge();
  expect(judge.tick(runFacts(), dead, at(1))).toMatchObject({ kind: "suspect", recheckAt: at(1.25) });
  const verdict = judge.tick(runFacts(), dead, at(2));
  expect(verdict).toMatchObject({ kind: "suspect", recheckAt: at(3) });
  expect(explain(verdict)).toBe("pid 4242 is dead, and its wrapper is writing down how it ended");
  expect(judge.tick(runFacts(), { ...dead, wrapper: "dead" }, at(3)).kind, "a dead wrapper records nothing").toBe("dead");
});
