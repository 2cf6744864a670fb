import type { LoopName } from "../../src/config/loop-names.ts";
import type { LoopSnapshot } from "../../src/loops/skeleton/loop.ts";

/** A loop that is on and has not ticked yet, as the API shows it. */
export const loopSnapshot = <Name extends LoopName>(name: Name, overrides: Partial<LoopSnapshot<Name>> = {}): LoopSnapshot<Name> =>
  ({
    name,
    enabled: true,
    running: false,
    intervalMs: 1000,
    lastRunAt: null,
    lastSuccessAt: null,
    lastDurationMs: null,
    lastError: null,
    ticks: 0,
    failures: 0,
    seen: 0,
    settled: 0,
    lost: 0,
    details: {},
    ...overrides,
  }) as LoopSnapshot<Name>;
