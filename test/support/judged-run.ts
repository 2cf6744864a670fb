import { asJobId, asRunId, firstOwnerEpoch } from "../../src/domain/ids.ts";
import { asInstant, type Instant } from "../../src/domain/time.ts";
import type { ProcessEvidence, ProcessLife, RunEvidence, RunFacts } from "../../src/liveness/evidence.ts";
import { judgeRun, type RunMemory } from "../../src/liveness/run-policy.ts";
import { defaultRunThresholds, type RunThresholds } from "../../src/liveness/run-thresholds.ts";
import { newVantage, type VantageView, viewOf } from "../../src/liveness/vantage.ts";
import type { RunVerdict } from "../../src/liveness/verdict.ts";

/** The instant that the cases count from: seconds after it are what their numbers say. */
const epoch = 1_000_000_000;

export const at = (seconds: number): Instant => asInstant(epoch + Math.round(seconds * 1000));

/** A watcher without any gap in its view. */
export const wideAwake: VantageView = viewOf(newVantage(), "workers");

/** A run that started at 0 s and whose session was heard at 0 s; a test names what it is about. */
export function runFacts(facts: Partial<RunFacts> = {}): RunFacts {
  return {
    runId: asRunId(17),
    jobId: asJobId(5),
    ownerEpoch: firstOwnerEpoch,
    state: "started",
    kind: "command",
    reservedAt: at(0),
    startedAt: at(0),
    limits: {},
    hasFinaliseSteps: false,
    session: { heardAt: at(0), channel: "throughMe" },
    ...facts,
  };
}

export function processEvidence(life: ProcessLife, process: Partial<ProcessEvidence> = {}): ProcessEvidence {
  return { pid: 4242, startTime: "77", role: "command", life, ...process };
}

/** Everything in order: the process lives, its supervisor too, nothing on disk. */
export function evidenceOf(evidence: Partial<RunEvidence> = {}): RunEvidence {
  return {
    process: processEvidence("alive"),
    lifePipe: "held",
    exitRecord: { kind: "none" },
    supervisor: "alive",
    report: { kind: "holds", at: at(0) },
    hostConflict: false,
    ...evidence,
  };
}

/** The evidence of a watcher that can probe only a pid, as a single-host reaper does. */
export function pidAlone(life: ProcessLife | "none"): RunEvidence {
  const process = life === "none" ? undefined : processEvidence(life);
  return evidenceOf({ process, lifePipe: "unknown", supervisor: "unknown" });
}

/** Ticks driven by hand: keeps between them what the judge keeps. */
export class HandDrivenJudge {
  memory: RunMemory | undefined;
  thresholds: RunThresholds;
  vantage: VantageView;

  constructor(options: { readonly thresholds?: Partial<RunThresholds>; readonly vantage?: VantageView } = {}) {
    this.thresholds = { ...defaultRunThresholds, ...options.thresholds };
    this.vantage = options.vantage ?? wideAwake;
  }

  tick(run: RunFacts, evidence: RunEvidence, now: Instant): RunVerdict {
    const { verdict, memory } = judgeRun(run, evidence, this.memory, this.thresholds, this.vantage, now);
    this.memory = memory;
    return verdict;
  }
}
