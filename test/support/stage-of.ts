import type { StageDefinition } from "../../src/pipelines/definition.ts";
import { compatibleStageNames } from "../../src/pipelines/stage-names.ts";

/** A stage as a definition's normalisation would make it. */
export function stageOf(name: string, options: Partial<StageDefinition> = {}): StageDefinition {
  return {
    name,
    run: { kind: "command", argv: ["true"] },
    attempts: 3,
    onExhausted: "fail",
    retry: { minMs: 1000, maxMs: 60_000, factor: 2 },
    exitCodes: { retryOn: [], failOn: [], holdOn: [] },
    concurrencyKey: `comics.${name}`,
    gatePatienceMs: 600_000,
    gateTimeoutMs: 30_000,
    strays: "stop",
    log: { maxBytes: 1_000_000 },
    env: {},
    envFiles: {},
    fence: "freeze",
    priority: 0,
    labels: {},
    next: null,
    compatible: compatibleStageNames(name),
    ...options,
  };
}
