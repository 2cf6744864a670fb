import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { tempDir } from "../../../test/support/temp-dir.ts";
import { checkProcessLimits } from "./process-limits.ts";

/** A procfs of one daemon with pid 7. */
function machine(of: { readonly uid: number; readonly processes: string; readonly files: string; readonly pidsMax?: string }) {
  const root = tempDir("limits");
  const proc = join(root, "proc");
  for (const [pid, threads] of [
    [7, 11],
    [8, 9],
  ] as const) {
    mkdirSync(join(proc, String(pid), "fd"), { recursive: true });
    writeFileSync(join(proc, String(pid), "status"), `Name:\tnode\nUid:\t${of.uid}\t1\t1\t1\nThreads:\t${threads}\n`);
  }
  for (let fd = 0; fd < 18; fd++) writeFileSync(join(proc, "7", "fd", String(fd)), "");
  writeFileSync(
    join(proc, "7", "limits"),
    `Limit  Soft Limit  Hard Limit  Units\nMax processes             ${of.processes}   9999   processes\nMax open files            ${of.files}   9999   files\n`,
  );
  writeFileSync(join(proc, "7", "cgroup"), "0::/service\n");
  mkdirSync(join(root, "groups", "service"), { recursive: true });
  writeFileSync(join(root, "groups", "service", "pids.max"), `${of.pidsMax ?? "max"}\n`);
  writeFileSync(join(root, "groups", "service", "pids.current"), "95\n");
  return checkProcessLimits(7, proc, join(root, "groups"));
}

test("limits that are far away are told with their numbers", () => {
  expect(machine({ uid: 1000, processes: "4000", files: "1024" })).toEqual([
    { check: "process limits", level: "ok", text: "20 of 4000 processes and threads of user 1000, 18 of 1024 open files" },
  ]);
});

test("nine tenths of a limit is a warning that names the remedy [F-8.4]", () => {
  const found = machine({ uid: 1000, processes: "22", files: "20", pidsMax: "100" });
  expect(found.map(({ level, text }) => [level, text.split(":")[0]])).toEqual([
    ["warning", "20 of 22 processes and threads of user 1000 are used"],
    ["warning", "18 of 20 open files are used"],
    ["warning", "95 of 100 processes and threads of the control group are used"],
  ]);
  expect(found[0]?.remedy).toMatch(/ulimit -u/);
});

test("root has no limit of processes", () => {
  expect(machine({ uid: 0, processes: "22", files: "1024" })[0]?.level).toBe("ok");
});

test("of a process that cannot be looked at nothing is said", () => {
  expect(checkProcessLimits(7, "/no/such/proc")).toEqual([]);
});
