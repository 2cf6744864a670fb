import { messageOf } from "../../src/domain/errors.ts";
import type { Fault } from "./fault.ts";
import type { FaultRequest } from "./fault-request.ts";
import { kindsFor } from "./kinds/index.ts";
import { boundsOf } from "./limits.ts";
import { whyNotHere } from "./needs.ts";
import { drawPoint, type Point } from "./points.ts";
import { type FaultReport, recoveryFigures, type SetUpReport } from "./report.ts";
import { type PointReport, runPoint } from "./run-point.ts";
import type { SetUp } from "./set-up.ts";
import { World } from "./world.ts";

export interface RunFaults {
  readonly request: FaultRequest;
  readonly signal: AbortSignal;
  /** Progress, for people. */
  readonly say: (line: string) => void;
}

/** Of one point, for people: a broken point has hundreds. */
const toldMax = 12;

/** Runs the points of a request on each of its set-ups. */
export async function runFaults({ request, signal, say }: RunFaults): Promise<FaultReport> {
  const reports: SetUpReport[] = [];
  for (const setUp of request.stores) reports.push(await runSetUp(setUp, { request, signal, say }));
  return {
    seed: request.seed,
    limits: request.limits,
    setUps: reports,
    recovery: recoveryFigures(reports.flatMap(({ points }) => points)),
  };
}

async function runSetUp(setUp: SetUp, { request, signal, say }: RunFaults): Promise<SetUpReport> {
  const { seed, from, limits, times, all, only } = request;
  const kinds = kindsFor(setUp, all).filter(({ name }) => only === undefined || only.test(name));
  const points: PointReport[] = [];
  const skipped: { number: number; faults: readonly string[]; why: string }[] = [];
  let place = new Place(setUp);
  try {
    for (let number = from; number < from + request.points; number += 1) {
      const point = drawPoint(seed, number, kinds);
      const faults = faultsOf(point, kinds);
      const why = faults.map(whyNotHere).find((missing) => missing !== undefined);
      if (why !== undefined || faults.length === 0) {
        skipped.push({ number, faults: point.faults, why: why ?? "no kind matches" });
        say(`${setUp} ${number}: ${point.faults.join(" + ")} skipped: ${why ?? "no kind matches"}`);
        continue;
      }
      const report = await place.run({ point, faults, seed, limits, times, signal });
      points.push(report);
      say(lineOf(setUp, report));
      for (const finding of report.findings.slice(0, toldMax)) say(`    ${finding}`);
      if (report.findings.length > toldMax) say(`    and ${report.findings.length - toldMax} more, which --json has`);
      if (report.findings.length === 0) continue;
      say(`    again: ${againText(setUp, number, request)}`);
      // What a failed point left behind is no finding of the next.
      await place.close();
      place = new Place(setUp);
    }
  } finally {
    await place.close();
  }
  return { setUp, points, skipped };
}

function againText(setUp: SetUp, number: number, { seed, limits, times, all, only }: FaultRequest): string {
  const options = [`--seed ${seed} --from ${number} --points 1 --limits ${limits} --store ${setUp}`];
  if (times > 1) options.push(`--times ${times}`);
  if (all) options.push("--all");
  if (only !== undefined) options.push(`--only '${only.source}'`);
  return `npm run bench -- faults ${options.join(" ")}`;
}

const faultsOf = (point: Point, kinds: readonly Fault[]): readonly Fault[] =>
  point.faults.flatMap((name) => kinds.find((kind) => kind.name === name) ?? []);

function lineOf(setUp: SetUp, { number, faults, findings, recoveryMs, tookMs, jobs, notes }: PointReport): string {
  const verdict = findings.length === 0 ? "clean" : "FAILED";
  return `${setUp} ${number}: ${faults.join(" + ")} ${verdict}, ${jobs} jobs and items, new work after ${recoveryMs ?? "-"} ms, ${(tookMs / 1000).toFixed(1)} s (${notes.join(", ")})`;
}

interface PlacedPoint {
  readonly point: Point;
  readonly faults: readonly Fault[];
  readonly seed: number;
  readonly limits: FaultRequest["limits"];
  readonly times: number;
  readonly signal: AbortSignal;
}

/** A world that is opened when a point first needs it. */
class Place {
  readonly #setUp: SetUp;
  readonly #knownJobs = new Set<number>();
  #world: World | undefined;

  constructor(setUp: SetUp) {
    this.#setUp = setUp;
  }

  async run({ point, faults, seed, limits, times, signal }: PlacedPoint): Promise<PointReport> {
    const bounds = boundsOf(limits);
    signal.throwIfAborted();
    try {
      this.#world ??= await World.open({ setUp: this.#setUp, limits });
      return await runPoint({ world: this.#world, seed, point, faults, bounds, times, knownJobs: this.#knownJobs, signal });
    } catch (thrown) {
      signal.throwIfAborted();
      const findings = [`the point broke off: ${messageOf(thrown)}`];
      return {
        number: point.number,
        faults: point.faults,
        notes: [],
        recoveryMs: undefined,
        recoveryBoundMs: bounds.recoveryMs,
        tookMs: 0,
        jobs: 0,
        findings,
      };
    }
  }

  async close(): Promise<void> {
    await this.#world?.close();
    this.#world = undefined;
  }
}
