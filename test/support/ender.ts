import { PipelineRegistry } from "../../src/pipelines/registry.ts";
import { RunEnder, type RunEnderDeps } from "../../src/settling/run-ender.ts";

/** Ends runs in a test: without pipelines, in the middle of each delay, with no listener, unless the test says otherwise. */
export const enderOf = (deps: Pick<RunEnderDeps, "store"> & Partial<RunEnderDeps>): RunEnder =>
  new RunEnder({ registry: new PipelineRegistry([]), random: () => 0.5, emit: () => undefined, stopWithinMs: () => 17_000, ...deps });
