import { mkdirSync, readFileSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { makeFifo } from "../../../test/support/fifo.ts";
import { tempDir } from "../../../test/support/temp-dir.ts";
import { until } from "../../../test/support/until.ts";
import { asRunId, type RunId } from "../../domain/ids.ts";
import { asInstant } from "../../domain/time.ts";
import { beginHeartbeatFile, HeartbeatFiles } from "./heartbeat-files.ts";

const now = (): ReturnType<typeof asInstant> => asInstant(Math.floor(Date.now()));
const touch = (path: string): void => writeFileSync(path, `beat ${Math.random()}`);
const made: (() => void)[] = [];
afterEach(() => {
  for (const undo of made.splice(0)) undo();
  vi.useRealTimers();
});

function filesOf(options: { lookMs?: number; answers?: (beats: readonly RunId[]) => Promise<readonly RunId[]> } = {}) {
  const beats: RunId[][] = [];
  const lost: RunId[] = [];
  const files = new HeartbeatFiles({
    now,
    wallNow: () => Date.now(),
    lookMs: options.lookMs ?? 5,
    beat: async (each) => {
      const runIds = each.map(({ runId }) => runId);
      beats.push(runIds);
      return (await options.answers?.(runIds)) ?? [];
    },
    onLost: (runIds) => lost.push(...runIds),
  });
  const hold = (id: number, ...paths: readonly string[]): RunId => {
    const runId = asRunId(id);
    files.hold({ runId, startedAt: now(), paths });
    made.push(() => files.drop(runId));
    return runId;
  };
  return { files, beats, lost, hold };
}

test("one look for all runs, none while no run is held, and one write for all that moved", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const { files, hold } = filesOf({ lookMs: 1000 });
  expect(vi.getTimerCount()).toBe(0);
  const dir = tempDir();
  const runs = [1, 2, 3].map((id) => hold(id, join(dir, `${id}`)));
  expect(vi.getTimerCount()).toBe(1);
  for (const runId of runs) files.drop(runId);
  expect(vi.getTimerCount()).toBe(0);
});

test("a change of either file of a run is its heartbeat, and nobody else's", async () => {
  const dir = tempDir();
  const [own, known, other] = ["own", "nom.heartbeat", "other"].map((name) => join(dir, name));
  const { beats, hold } = filesOf();
  const first = hold(1, own ?? "", known ?? "");
  const second = hold(2, other ?? "");
  await until(() => {
    touch(known ?? "");
    return beats.some((each) => each.includes(first));
  });
  expect(beats.flat()).not.toContain(second);
  beats.length = 0;
  await until(() => {
    touch(own ?? "");
    return beats.some((each) => each.includes(first));
  });
});

test("a file that is older than the run is no heartbeat of it [A-G1]", async () => {
  const dir = tempDir();
  const [stale, fresh] = [join(dir, "stale"), join(dir, "fresh")];
  touch(stale);
  utimesSync(stale, Date.now() / 1000 - 60, Date.now() / 1000 - 60);
  const { beats, hold } = filesOf();
  const old = hold(1, stale);
  const young = hold(2, fresh);
  for (let look = 0; look < 3; look++) {
    beats.length = 0;
    await until(() => {
      touch(fresh);
      return beats.flat().includes(young);
    });
  }
  expect(beats.flat()).not.toContain(old);
});

test("a beat that could not be written is told by a later look, and a run that is not alive any more is lost once", async () => {
  const path = join(tempDir(), "hb");
  let busy = true;
  const { beats, lost, hold } = filesOf({
    answers: async (runIds) => {
      if (busy) throw new Error("the store is busy");
      return runIds;
    },
  });
  const runId = hold(1, path);
  await until(() => {
    if (beats.length === 0) touch(path);
    return beats.length >= 2;
  });
  busy = false;
  await until(() => lost.length > 0);
  expect(lost).toEqual([runId]);
});

test("the first line takes the place of an earlier run's file, and of a link or FIFO that was left there; a folder is left alone [A-22, A-G1]", async () => {
  const dir = tempDir();
  const wallNow = Date.UTC(2026, 0, 2, 3, 4, 5);
  const victim = join(dir, "victim");
  writeFileSync(victim, "precious");
  const paths = ["earlier", "link", "fifo", "missing"].map((name) => join(dir, name));
  writeFileSync(paths[0] ?? "", "an earlier run's");
  symlinkSync(victim, paths[1] ?? "");
  makeFifo(paths[2] ?? "");
  for (const path of paths) {
    await beginHeartbeatFile(path, wallNow);
    expect(readFileSync(path, "utf8")).toBe("2026-01-02T03:04:05.000Z start\n");
  }
  expect(readFileSync(victim, "utf8")).toBe("precious");
  mkdirSync(join(dir, "folder"));
  await beginHeartbeatFile(join(dir, "folder"), wallNow);
});
