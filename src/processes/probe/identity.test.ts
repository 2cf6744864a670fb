import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { makeFifo } from "../../../test/support/fifo.ts";
import { tempDir } from "../../../test/support/temp-dir.ts";
import { until } from "../../../test/support/until.ts";
import { asHostId } from "../../domain/ids.ts";
import { installationOf } from "../../files/installation.ts";
import { readHostIdentity } from "./host-identity.ts";
import { createProcessProbe, type HostIdentity, type ProcessIdentity, sameProcess } from "./identity.ts";
import { parseProcStat, parsePsLine } from "./process-stat.ts";
import { type KernelCalls, linuxProcessTable } from "./process-table.ts";

const host: HostIdentity = { hostId: asHostId("here"), bootId: "boot-1", pidNamespace: "pid:[1]" };
const identity = (changes: Partial<ProcessIdentity> = {}): ProcessIdentity => ({ ...host, pid: 4242, startTime: "1000", ...changes });

const failure = (code: string): Error => Object.assign(new Error(code), { code });
const statLine = ({ state = "S", startTime = "1000" } = {}): string =>
  `4242 (a) b) (c) ${state} 1 4242 4242 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 ${startTime} 1 1`;

/** A probe over a kernel that answers as told. `kill`: the error code of signal 0, if any. */
function probeWith({ stat, kill }: { stat: string | Error; kill?: string }) {
  const calls: KernelCalls = {
    readText: () => {
      if (stat instanceof Error) throw stat;
      return stat;
    },
    readDirectory: () => [],
    kill: () => {
      if (kill !== undefined) throw failure(kill);
    },
  };
  return createProcessProbe({ host, table: linuxProcessTable(calls) });
}

test("a process with the same start time is alive", () => {
  expect(probeWith({ stat: statLine() }).observe(identity())).toEqual({ kind: "alive" });
});

test("only no such process is dead [B-G4]", () => {
  expect(probeWith({ stat: failure("ENOENT"), kill: "ESRCH" }).observe(identity())).toEqual({ kind: "dead", why: "no_such_process" });
  expect(probeWith({ stat: failure("ESRCH"), kill: "ESRCH" }).observe(identity())).toEqual({ kind: "dead", why: "no_such_process" });
});

test("permission denied is alive, also when the process hides from /proc [B-G4]", () => {
  expect(probeWith({ stat: failure("ENOENT"), kill: "EPERM" }).observe(identity())).toEqual({ kind: "alive" });
  expect(probeWith({ stat: failure("EACCES"), kill: "EPERM" }).observe(identity())).toEqual({ kind: "alive" });
});

test("a /proc that shows nothing of a living process proves nothing", () => {
  expect(probeWith({ stat: failure("ENOENT") }).observe(identity())).toMatchObject({ kind: "unknown", why: "unreadable" });
  expect(probeWith({ stat: "nonsense" }).observe(identity())).toMatchObject({ kind: "unknown", why: "unreadable" });
  expect(probeWith({ stat: failure("EMFILE") }).observe(identity())).toMatchObject({ kind: "unknown", why: "unreadable" });
});

test("a zombie is dead [B-G4]", () => {
  for (const state of ["Z", "X"]) {
    expect(probeWith({ stat: statLine({ state }) }).observe(identity())).toEqual({ kind: "dead", why: "zombie" });
  }
});

test("a pid that was given to another process is dead [B-G4]", () => {
  const probe = probeWith({ stat: statLine({ startTime: "1001" }) });
  expect(probe.observe(identity())).toEqual({ kind: "dead", why: "other_start_time" });
  expect(probeWith({ stat: statLine({ startTime: "1001", state: "Z" }) }).observe(identity())).toEqual({
    kind: "dead",
    why: "other_start_time",
  });
});

test("a process of another host or another pid namespace is unknown, whatever its pid does here [B-G5]", () => {
  const probe = probeWith({ stat: failure("ENOENT"), kill: "ESRCH" });
  expect(probe.observe(identity({ hostId: asHostId("there"), bootId: "boot-2" }))).toEqual({ kind: "unknown", why: "foreign_host" });
  expect(probe.observe(identity({ pidNamespace: "pid:[2]" }))).toEqual({ kind: "unknown", why: "foreign_namespace" });
});

test("a process of another installation on this very boot is probed like our own [F-7.2]", () => {
  const there = identity({ hostId: asHostId("there") });
  expect(probeWith({ stat: statLine() }).observe(there)).toEqual({ kind: "alive" });
  expect(probeWith({ stat: failure("ENOENT"), kill: "ESRCH" }).observe(there)).toEqual({ kind: "dead", why: "no_such_process" });
  expect(probeWith({ stat: failure("ENOENT"), kill: "ESRCH" }).observe({ ...there, pidNamespace: "pid:[2]" })).toMatchObject({
    why: "foreign_namespace",
  });
});

test("a process of another boot of this host is otherBoot, not dead", () => {
  expect(probeWith({ stat: failure("ENOENT"), kill: "ESRCH" }).observe(identity({ bootId: "boot-0" }))).toEqual({ kind: "otherBoot" });
});

test("an identity that names no process is unknown", () => {
  const probe = probeWith({ stat: statLine() });
  for (const changes of [{ pid: 0 }, { pid: -1 }, { pid: Number.NaN }, { startTime: "" }]) {
    expect(probe.observe(identity(changes))).toEqual({ kind: "unknown", why: "invalid_identity" });
  }
});

test("many processes are observed in their order, each pid looked at once", () => {
  const looked: string[] = [];
  const calls: KernelCalls = {
    readText: (path) => {
      looked.push(path);
      return statLine();
    },
    readDirectory: () => [],
    kill: () => undefined,
  };
  const probe = createProcessProbe({ host, table: linuxProcessTable(calls) });
  const lives = probe.observeMany([identity(), identity({ startTime: "1" }), identity({ pidNamespace: "pid:[2]" }), identity()]);
  expect(lives.map((life) => life.kind)).toEqual(["alive", "dead", "unknown", "alive"]);
  expect(looked).toEqual(["/proc/4242/stat"]);
});

test("a real child is alive, then a zombie or gone", async () => {
  const here = await readHostIdentity({ stateDir: tempDir(), randomId: () => "12345678" });
  const table = linuxProcessTable();
  const probe = createProcessProbe({ host: here, table });
  const child = spawn("sleep", ["60"], { stdio: "ignore" });
  onTestFinished(() => void child.kill("SIGKILL"));
  const sight = table.look(child.pid ?? 0);
  if (sight.kind !== "seen") throw new Error("the child is not to be seen");
  const childIdentity = { ...here, pid: sight.row.pid, startTime: sight.row.startTime };
  expect(probe.observe(childIdentity)).toEqual({ kind: "alive" });
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await until(() => probe.observe(childIdentity).kind === "dead");
  await ended;
  expect(probe.observe(childIdentity)).toEqual({ kind: "dead", why: "no_such_process" });
});

test("a process name may hold blanks, parentheses and line ends", () => {
  const row = parseProcStat(statLine().replace("a) b) (c", "x) S 1 2 3\n(y"));
  expect(row).toEqual({ pid: 4242, parentPid: 1, groupId: 4242, sessionId: 4242, state: "S", startTime: "1000" });
  expect(parseProcStat("1 (x S 1")).toBeUndefined();
});

test("a line of macOS's ps becomes the same kind of row, its start time without blanks", () => {
  expect(parsePsLine("  501   1   501 Ss+  Sun Nov 22 01:02:03 2026\n")).toEqual({
    pid: 501,
    parentPid: 1,
    groupId: 501,
    sessionId: 0,
    state: "S",
    startTime: "Sun_Nov_22_01:02:03_2026",
  });
  expect(parsePsLine("")).toBeUndefined();
});

test("signals go to one process or group, never to everyone", () => {
  const table = linuxProcessTable();
  for (const pid of [0, 1, -1, Number.NaN]) expect(() => table.signal(pid, "SIGTERM")).toThrow(RangeError);
});

test("a host keeps its random id, and two starts at once agree on one", async () => {
  const stateDir = tempDir();
  let calls = 0;
  const randomId = (): string => {
    calls += 1;
    return `random-id-${calls}`;
  };
  const [first, second] = await Promise.all([readHostIdentity({ stateDir, randomId }), readHostIdentity({ stateDir, randomId })]);
  expect(second).toEqual(first);
  const later = await readHostIdentity({ stateDir, randomId: () => "never-used" });
  expect(later).toEqual(first);
  expect(first.bootId).toBe(readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim());
  expect(first.pidNamespace).toMatch(/^pid:\[\d+\]$/);
  expect(first.hostId).toMatch(/^random-id-\d\.[0-9a-f]{16}$/);
});

test("a machine id that changes while the machine runs makes no other host, and one that changed with a boot does [F-8.10]", async () => {
  const stateDir = tempDir();
  const first = await readHostIdentity({ stateDir, randomId: () => "12345678" });
  // As the start before the change has left it.
  writeFileSync(join(stateDir, "host-of-boot"), `12345678.0123456789abcdef ${first.bootId}\n`);
  const changed = await readHostIdentity({ stateDir, randomId: () => "never-used" });
  expect(changed).toEqual({ ...first, hostId: "12345678.0123456789abcdef" });
  writeFileSync(join(stateDir, "host-of-boot"), "12345678.0123456789abcdef an-earlier-boot\n");
  expect(await readHostIdentity({ stateDir, randomId: () => "never-used" })).toEqual(first);
  for (const text of ["", "nonsense", `other-random.0123456789abcdef ${first.bootId}\n`]) {
    writeFileSync(join(stateDir, "host-of-boot"), text);
    expect(await readHostIdentity({ stateDir, randomId: () => "never-used" })).toEqual(first);
  }
});

test("a damaged host id is not replaced: a typed error says what to do, and what a new id would give up", async () => {
  const stateDir = join(tempDir(), "state");
  mkdirSync(stateDir);
  writeFileSync(join(stateDir, "host-id"), "");
  await expect(readHostIdentity({ stateDir, randomId: () => "12345678" })).rejects.toMatchObject({
    code: "host_id_damaged",
    message: expect.stringMatching(/Restore it.*its runs would be judged by silence.*Only when nothing of this host is running/),
    details: { path: join(stateDir, "host-id") },
  });
  expect(readFileSync(join(stateDir, "host-id"), "utf8")).toBe("");
});

test.each([
  ["a FIFO", makeFifo],
  ["a link", (path: string): void => symlinkSync(join(path, "../elsewhere"), path)],
  ["a folder", (path: string): void => mkdirSync(path)],
])(
  "%s in the place of the host id holds nobody: it is damaged to a start, and unknown to whoever looks for a daemon",
  async (_what, make) => {
    const stateDir = tempDir();
    writeFileSync(join(stateDir, "elsewhere"), "12345678-elsewhere\n");
    make(join(stateDir, "host-id"));
    await expect(readHostIdentity({ stateDir, randomId: () => "12345678" })).rejects.toMatchObject({ code: "host_id_damaged" });
    expect(await installationOf(stateDir)).toEqual({ kind: "unknown" });
  },
);

test("a data directory without a host id, or that is none, has had no daemon", async () => {
  const stateDir = tempDir();
  writeFileSync(join(stateDir, "file"), "");
  expect([await installationOf(stateDir), await installationOf(join(stateDir, "file"))]).toEqual([{ kind: "none" }, { kind: "none" }]);
});

test("two identities are the same process only when everything agrees", () => {
  expect(sameProcess(identity(), identity())).toBe(true);
  for (const changes of [{ pid: 1 }, { startTime: "2" }, { bootId: "x" }, { pidNamespace: "x" }, { hostId: asHostId("x") }]) {
    expect(sameProcess(identity(), identity(changes))).toBe(false);
  }
});
