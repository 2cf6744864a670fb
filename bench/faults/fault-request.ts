import { parseArgs } from "node:util";
import { BenchError } from "../bench-error.ts";
import type { Limits } from "./limits.ts";
import { type SetUp, setUps } from "./set-up.ts";

export interface FaultRequest {
  readonly seed: number;
  /** How many points on each set-up. */
  readonly points: number;
  /** The number of the first point. */
  readonly from: number;
  readonly limits: Limits;
  /** How often each point's fault comes in a row. */
  readonly times: number;
  readonly stores: readonly SetUp[];
  /** Also kinds that are not held yet. */
  readonly all: boolean;
  /** Only kinds whose names match; a point is then drawn from these alone. */
  readonly only: RegExp | undefined;
  readonly json: boolean;
}

const numberMax = 2 ** 31;

/**
 * What follows `faults`.
 *
 * @throws {BenchError} `bad_option`
 */
export function readFaultRequest(args: readonly string[]): FaultRequest {
  const { seed, points, from, limits, times, store, all, only, json } = parse(args);
  if (limits !== "default" && limits !== "short") throw new BenchError("bad_option", `--limits is default or short, not "${limits}".`);
  const chosen = setUps.filter((setUp) => store === undefined || store === setUp);
  if (chosen.length === 0) throw new BenchError("bad_option", `--store is one of ${setUps.join(", ")}, not "${store ?? ""}".`);
  return {
    seed: readNumber("--seed", seed),
    points: readNumber("--points", points, 1),
    from: readNumber("--from", from),
    limits,
    times: readNumber("--times", times, 1),
    stores: chosen,
    all,
    only: only === undefined ? undefined : readPattern(only),
    json,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        seed: { type: "string", default: "1" },
        points: { type: "string", default: "20" },
        from: { type: "string", default: "0" },
        limits: { type: "string", default: "default" },
        times: { type: "string", default: "1" },
        store: { type: "string" },
        all: { type: "boolean", default: false },
        only: { type: "string" },
        json: { type: "boolean", default: false },
      },
    }).values;
  } catch (thrown) {
    throw new BenchError("bad_option", thrown instanceof Error ? thrown.message : String(thrown));
  }
}

function readNumber(option: string, text: string, min = 0): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < min || value > numberMax)
    throw new BenchError("bad_option", `${option} is a whole number from ${min} to ${numberMax}, not "${text}".`);
  return value;
}

function readPattern(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch {
    throw new BenchError("bad_option", `--only is a regular expression, not "${text}".`);
  }
}
