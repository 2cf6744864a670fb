import { expect, test } from "vitest";
import { asHostId, asRunId } from "../../domain/ids.ts";
import type { ProcessIdentity } from "../probe/identity.ts";
import type { ProcessRow } from "../probe/process-stat.ts";
import type { RunMarker } from "../run-folder/run-marker.ts";
import { type RunMembersQuery, runMembers } from "./run-members.ts";

const hostId = asHostId("host");
const ours: RunMarker = { runId: asRunId(1), hostId };
const theirs: RunMarker = { runId: asRunId(2), hostId };

/** Start times equal pids unless said otherwise. */
const row = (pid: number, parentPid: number, changes: Partial<ProcessRow> = {}): ProcessRow => ({
  pid,
  parentPid,
  groupId: pid,
  sessionId: pid,
  state: "S",
  startTime: String(pid),
  ...changes,
});
const identity = (pid: number, startTime = String(pid)): ProcessIdentity => ({ hostId, bootId: "b", pidNamespace: "n", pid, startTime });

const daemon = row(10, 1);
const wrapper = row(20, 10);
const command = row(30, 20);

function members(
  rows: readonly ProcessRow[],
  markers: Record<number, RunMarker> = {},
  changes: Partial<RunMembersQuery> = {},
  sight: Partial<RunMembersQuery["processes"]> = {},
): number[] {
  return runMembers({
    runId: ours.runId,
    hostId,
    processes: { rows, markerOf: ({ pid }) => markers[pid], ageMsOf: () => undefined, selfPid: 10, ...sight },
    command: identity(30),
    wrapper: identity(20),
    shielded: [identity(10)],
    seen: [],
    holders: [],
    endedAgoMs: undefined,
    ...changes,
  }).map(({ pid }) => pid);
}

test("the command and what is below it are members, although a registered session stands above them", () => {
  expect(members([daemon, wrapper, command, row(40, 30), row(50, 40)])).toEqual([30, 40, 50]);
});

test("neither the wrapper nor the programs that write its record are members", () => {
  expect(members([daemon, wrapper, command, row(60, 20)], { 20: ours, 30: ours, 60: ours })).toEqual([30]);
});

test("before the command has recorded itself, the wrapper's child is the run's", () => {
  expect(members([daemon, wrapper, command], { 20: ours, 30: ours }, { command: undefined })).toEqual([30]);
});

test("an orphan is found by its marker below init, also when init is the daemon itself", () => {
  expect(members([row(1, 0), row(70, 1)], { 70: ours })).toEqual([70]);
  expect(members([row(1, 0), row(70, 1)], { 70: ours, 1: ours }, { shielded: [identity(1)] }, { selfPid: 1 })).toEqual([70]);
});

test("a worker started inside the run is spared with everything below it, whatever markers and sessions say", () => {
  const rows = [daemon, wrapper, command, row(40, 30, { sessionId: 30 }), row(50, 40, { sessionId: 30 }), row(60, 50)];
  expect(members(rows, { 40: ours, 60: ours }, { shielded: [identity(10), identity(40)] })).toEqual([30]);
});

test("another run's processes are spared, also inside this run's session and below its command", () => {
  const rows = [daemon, wrapper, command, row(40, 30, { sessionId: 30 }), row(50, 40)];
  expect(members(rows, { 40: theirs })).toEqual([30]);
  expect(members(rows, { 40: { runId: ours.runId, hostId: asHostId("elsewhere") } })).toEqual([30]);
});

test("the command's session counts while the command leads it", () => {
  expect(members([command, row(40, 1, { sessionId: 30 })])).toEqual([30, 40]);
});

test("a session whose leader's pid was given away is somebody else's", () => {
  expect(members([row(30, 1, { startTime: "99" }), row(40, 1, { sessionId: 30 })], {}, { endedAgoMs: 0 }, { ageMsOf: () => 1e9 })).toEqual(
    [],
  );
});

test("a session without its leader counts only for processes older than the command's end", () => {
  const rows = [row(40, 1, { sessionId: 30 }), row(41, 1, { sessionId: 30 })];
  const ageMsOf = ({ pid }: ProcessRow): number => (pid === 40 ? 5000 : 3000);
  expect(members(rows, {}, { endedAgoMs: 4000 }, { ageMsOf })).toEqual([40]);
  expect(members(rows, {}, {}, { ageMsOf })).toEqual([]);
});

test("what was seen stays a member when its parents go, but not when its pid is another's", () => {
  expect(members([row(40, 1)], {}, { seen: [identity(40)] })).toEqual([40]);
  expect(members([row(40, 1)], {}, { seen: [identity(40, "other")] })).toEqual([]);
});

test("init and this process are never members, and a circle of parents ends", () => {
  expect(members([row(1, 0), row(10, 1)], { 1: ours, 10: ours }, { shielded: [] })).toEqual([]);
  expect(members([row(80, 81), row(81, 80)])).toEqual([]);
});
