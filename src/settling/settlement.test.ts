import { expect, test } from "vitest";
import { at } from "../../test/support/judged-run.ts";
import { liveRun } from "../../test/support/live-run.ts";
import { chain } from "../../test/support/loop-world.ts";
import { present } from "../../test/support/present.ts";
import { PipelineRegistry } from "../pipelines/registry.ts";
import { settlementOfFailure, settlementOfSuccess } from "./settlement.ts";

const retry = { minMs: 10, maxMs: 99, factor: 3 };
const registry = new PipelineRegistry([chain("p", ["prep", "ocr"], { stage: { retry, onExhausted: "hold" } })]);
const context = { registry, random: () => 0.25, actor: "test" };
const fence = { runId: 17, ownerEpoch: 1, jobId: 5 };

test("a failure brings its outcome, what its stage says of retries, and no counts", () => {
  const outcome = { kind: "lost", reason: "its process is dead", disposition: "hold", bySessionDeath: true } as const;
  const details = { reason: "dead_pid", evidence: { pid: 4 }, exitCode: 3, stopBy: at(9), spreadMs: 50 };
  expect(settlementOfFailure(liveRun({ queue: "p/prep" }), outcome, details, context)).toEqual({
    ...fence,
    outcome: "lost",
    reason: "dead_pid",
    message: "its process is dead",
    disposition: "hold",
    bySessionDeath: true,
    evidence: '{"pid":4}',
    exitCode: 3,
    stopBy: at(9),
    actor: "test",
    retry: { policy: { onExhausted: "hold", delay: { baseMs: 10, maxMs: 99, factor: 3 } }, jitter: 0.25, spreadMs: 50 },
  });
});

test("where no stage is declared nothing is said of retries; a stage that the settler knows comes before the declared one", () => {
  const policyOf = (queue: string, stage = registry.stageOfQueue(queue)?.stage) =>
    settlementOfFailure(liveRun({ queue }), { kind: "hung", reason: "hung" }, { reason: "hung" }, { ...context, stage }).retry.policy;
  expect(policyOf("dev")).toBeUndefined();
  const known = { ...present(registry.stage("p", "ocr")), onExhausted: "fail" } as const;
  expect([policyOf("p/prep"), policyOf("p/prep", known)]).toMatchObject([{ onExhausted: "hold" }, { onExhausted: "fail" }]);
});

test("a success is no failure, and is never given to the retry contract", () => {
  const outcome = { kind: "succeeded", reason: "done" } as const;
  expect(() => settlementOfFailure(liveRun(), outcome, { reason: "done" }, context)).toThrow("Run 17 has succeeded");
});

test("a success brings its output and where its item goes; without evidence there is none", () => {
  const details = { reason: "exit0_no_gate", exitCode: 0 };
  const end = { ...fence, outcome: "succeeded", reason: "exit0_no_gate", exitCode: 0, actor: "test" };
  const advance = { kind: "finish" } as const;
  expect(settlementOfSuccess(liveRun(), { advance, output: "1", details }, context)).toEqual({ ...end, advance, output: "1" });
  const seen = settlementOfSuccess(liveRun(), { advance: undefined, output: undefined, details: { ...details, evidence: [1] } }, context);
  expect(seen).toEqual({ ...end, evidence: "[1]" });
});
