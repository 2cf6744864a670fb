import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { asOwnerEpoch, asRunId, asWorkerId, type RunId } from "../../domain/ids.ts";
import type { ClaimedWork, EndReport } from "../worker-backend.ts";
import { ExitingRuns } from "./exiting-runs.ts";
import type { GatedExits } from "./handler-worker-options.ts";

const runId = asRunId(7);
const claimed = { runId, ownerEpoch: asOwnerEpoch(1) } as ClaimedWork;
const report: EndReport = { runId, ownerEpoch: asOwnerEpoch(1), ending: { kind: "returned", output: '"text"' } };

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Runs whose outputs are kept, and whose gates are read, after so many failures. */
function exiting(failures: { keep?: number; read?: number } = {}) {
  const told: string[] = [];
  const saved = new Map<RunId, string>();
  let { keep = 0, read = 0 } = failures;
  const exits: GatedExits = {
    save: async (id, output) => {
      if (keep-- > 0) throw new Error("the disk is full");
      saved.set(id, output);
    },
    report: async (workerId) => {
      if (read-- > 0) throw new Error("the store is away");
      told.push(`read by ${workerId}`);
    },
  };
  const runs = new ExitingRuns({
    exits,
    session: () => asWorkerId(3),
    onKept: (each) => void told.push(`kept, output ${saved.get(each.runId)}`),
    onOver: () => void told.push("over"),
    emit: (_name, data) => void told.push(JSON.stringify(data)),
  });
  return { runs, told };
}

test("a return is reported once its output is kept, and the run is held until it has been read", async () => {
  const { runs, told } = exiting();
  runs.returned(report, claimed, '"text"');
  expect(told).toEqual([]);
  await vi.advanceTimersByTimeAsync(0);
  expect([told, [...runs.ids()], runs.size]).toEqual([['kept, output "text"'], [runId], 1]);
  runs.read(runId);
  await vi.advanceTimersByTimeAsync(0);
  expect([told.slice(1), runs.has(runId)]).toEqual([["read by 3", "over"], false]);
});

test("a return without output is reported in the same turn", () => {
  const { runs, told } = exiting();
  runs.returned(report, claimed, undefined);
  expect([told, runs.has(runId)]).toEqual([["kept, output undefined"], true]);
});

test("an output that cannot be kept is tried again, later each time, and nothing is reported before it is", async () => {
  const { runs, told } = exiting({ keep: 2 });
  runs.returned(report, claimed, '"text"');
  await vi.advanceTimersByTimeAsync(99);
  expect(told).toEqual(['{"code":"settle_failed","message":"run 7: the disk is full"}']);
  await vi.advanceTimersByTimeAsync(1);
  expect(told).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(199);
  expect(told).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(1);
  expect(told.at(-1)).toBe('kept, output "text"');
});

test("a run that cannot be read is read again, at least each 10 s, and is held meanwhile", async () => {
  const { runs, told } = exiting({ read: 11 });
  runs.returned(report, claimed, undefined);
  runs.read(runId);
  await vi.advanceTimersByTimeAsync(100 + 200 + 400 + 800 + 1600 + 3200 + 6400);
  expect([told.length, runs.has(runId)]).toEqual([1 + 8, true]);
  await vi.advanceTimersByTimeAsync(4 * 10_000);
  expect([told.at(-1), runs.has(runId)]).toEqual(["over", false]);
});

test("a run that was lost meanwhile is read no more", async () => {
  const { runs, told } = exiting({ read: 1 });
  runs.returned(report, claimed, undefined);
  runs.read(runId);
  await vi.advanceTimersByTimeAsync(0);
  runs.drop(runId);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(told).toEqual(["kept, output undefined", '{"code":"settle_failed","message":"run 7: the store is away"}']);
});
