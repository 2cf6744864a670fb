import { expect, test } from "vitest";
import { at, evidenceOf, processEvidence } from "../../test/support/judged-run.ts";
import { isAlarming, type RunEvidence, trustworthyPart } from "./evidence.ts";

test("on a host that is two machines nothing that was probed counts; a record and a worker's own word do", () => {
  const evidence = evidenceOf({
    process: processEvidence("dead"),
    wrapper: "alive",
    supervisor: "dead",
    exitRecord: { kind: "exit", status: 3 },
  });
  expect(trustworthyPart(evidence)).toBe(evidence);
  const conflict = { ...evidence, hostConflict: true };
  const process = { ...processEvidence("unknown"), unknownBecause: "foreignHost" };
  expect(trustworthyPart(conflict)).toEqual({ ...conflict, process, wrapper: "unknown", lifePipe: "unknown", supervisor: "unknown" });
  expect(trustworthyPart({ ...conflict, process: undefined }).process).toBeUndefined();
});

test("an alarm is an end on record, a process or supervisor that is not plainly alive, or a worker that disowns the run", () => {
  const unknown = (unknownBecause: "foreignHost" | "otherNamespace" | "probeFailed") => ({
    process: processEvidence("unknown", { unknownBecause }),
  });
  const alarms: readonly Partial<RunEvidence>[] = [
    { hostConflict: true },
    { exitRecord: { kind: "exit", status: 0 } },
    { exitRecord: { kind: "nogo" } },
    { supervisor: "dead" },
    { report: { kind: "doesNotHold", at: at(0) } },
    { process: processEvidence("dead") },
    { process: processEvidence("otherBoot") },
    unknown("otherNamespace"),
    unknown("probeFailed"),
  ];
  const calm: readonly Partial<RunEvidence>[] = [
    {},
    { process: undefined },
    unknown("foreignHost"),
    { supervisor: "unknown" },
    { exitRecord: { kind: "torn" } },
    { report: { kind: "notNamed", since: at(0) } },
  ];
  expect([alarms, calm].map((list) => list.map((seen) => isAlarming(evidenceOf(seen))))).toEqual([
    alarms.map(() => true),
    calm.map(() => false),
  ]);
});
