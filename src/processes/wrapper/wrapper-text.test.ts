import { readFile, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type CommandRun, commandRun, shellNames, toolsOf } from "../../../test/support/command-run.ts";
import { makeFifo } from "../../../test/support/fifo.ts";
import { until } from "../../../test/support/until.ts";
import { readEndedBy } from "../run-folder/exit-record.ts";
import { probeLifePipe } from "../run-folder/life-pipe.ts";
import { readStarted, runFiles } from "../run-folder/run-files.ts";

const stdoutOf = async (run: CommandRun): Promise<string> => await readFile(runFiles(run.runDir).stdoutLog, "utf8");
const stderrOf = async (run: CommandRun): Promise<string> => await readFile(runFiles(run.runDir).stderrLog, "utf8");
const kill = (run: CommandRun, pid: number, signal: NodeJS.Signals): string => run.tree.table.signal(pid, signal);

describe.each(shellNames)("a wrapper on %s", (shell) => {
  test("records itself, holds the life pipe and runs nothing before go", async () => {
    const tools = await toolsOf(shell);
    if (tools === undefined) return;
    const run = await commandRun({ tools, argv: ["touch", "ran"], go: false });
    expect(await readStarted(run)).toEqual(run.wrapper.identity);
    expect(run.wrapper.identity).toMatchObject(run.host);
    expect(await probeLifePipe(run.runDir)).toBe("held");
    await expect(stat(runFiles(run.runDir).command)).rejects.toThrow("ENOENT");
    run.wrapper.go();
    expect(await run.exit()).toMatchObject({ kind: "exit", status: 0, bootId: run.host.bootId });
    await run.wrapper.exited;
    expect((await stat(join(run.workDir, "ran"))).isFile()).toBe(true);
    expect(await probeLifePipe(run.runDir)).toBe("released");
  });

  test("end of file without go ends it as nogo, and nothing runs", async () => {
    const tools = await toolsOf(shell);
    if (tools === undefined) return;
    const run = await commandRun({ tools, argv: ["touch", "ran"], go: false });
    run.wrapper.abandon();
    run.wrapper.go();
    expect(await run.exit()).toMatchObject({ kind: "nogo", bootId: run.host.bootId });
    await run.wrapper.exited;
    await expect(stat(join(run.workDir, "ran"))).rejects.toThrow("ENOENT");
    await expect(stat(runFiles(run.runDir).command)).rejects.toThrow("ENOENT");
  });

  test("gives the command its arguments byte for byte, its input on stdin where it is asked for, and its environment", async () => {
    const tools = await toolsOf(shell);
    if (tools === undefined) return;
    const args = ["two words", "line\nbreak", "-n", "--", "'single' \"double\"", "$HOME `id` \\ *", "", "ünïcødé"];
    const script =
      "process.stdout.write(JSON.stringify({args:process.argv.slice(1),in:require('fs').readFileSync(0,'utf8'),env:process.env}))";
    const run = await commandRun({
      tools,
      argv: [process.execPath, "-e", script, "--", ...args],
      input: '{"page":1}',
      stdin: "input",
      env: { dir: "mine", run: "mine", PLAIN: "a b\nc'\"$x" },
    });
    expect(await run.exit()).toMatchObject({ kind: "exit", status: 0 });
    const seen = JSON.parse(await stdoutOf(run)) as { args: string[]; in: string; env: Record<string, string> };
    expect(seen.args).toEqual(args);
    expect(seen.in).toBe('{"page":1}\n');
    expect(seen.env).toMatchObject({
      dir: "mine",
      run: "mine",
      PLAIN: "a b\nc'\"$x",
      WAKEFUL_RUN_ID: String(run.runId),
      WAKEFUL_RUN_MARKER: `${run.runId}:${run.host.hostId}`,
    });
    expect(Object.keys(seen.env).filter((name) => name.startsWith("_wkf"))).toEqual([]);
    expect(await readFile(runFiles(run.runDir).input, "utf8")).toBe('{"page":1}\n');
  });

  test("starts the command in a session of its own, with no signal ignored or blocked", async () => {
    const tools = await toolsOf(shell);
    if (tools === undefined) return;
    const run = await commandRun({ tools, argv: ["sleep", "60"] });
    const command = await run.command();
    const ignored = await until(async () => {
      const status = await readFile(`/proc/${command.pid}/status`, "utf8");
      return status.startsWith("Name:\tsleep") ? status : undefined;
    });
    expect(/SigIgn:\t(\S+)/.exec(ignored)?.[1]).toBe("0000000000000000");
    expect(/SigBlk:\t(\S+)/.exec(ignored)?.[1]).toBe("0000000000000000");
    const sight = run.tree.table.look(command.pid);
    expect(sight).toMatchObject({ kind: "seen", row: { sessionId: command.pid, groupId: command.pid, startTime: command.startTime } });
    expect(run.wrapper.identity.pid).not.toBe(command.pid);
  });

  test("a killed command leaves 137 on record, and the shell's own words stay out of its log", async () => {
    const tools = await toolsOf(shell);
    if (tools === undefined) return;
    const run = await commandRun({ tools, argv: ["sleep", "60"] });
    kill(run, (await run.command()).pid, "SIGKILL");
    expect(await run.exit()).toMatchObject({ kind: "exit", status: 137 });
    await run.wrapper.exited;
    expect(await stderrOf(run)).toBe("");
  });

  test("records whether a signal or a code ended the command, but for the two signals that a shell does not tell of [F-2.3]", async () => {
    const tools = await toolsOf(shell);
    if (tools === undefined) return;
    const endOf = async (script: string) => {
      const run = await commandRun({ tools, argv: ["sh", "-c", script] });
      const record = await run.exit();
      return record.kind === "exit" ? [record.status, await readEndedBy(run)] : record.kind;
    };
    for (const signal of [1, 4, 6, 8, 9, 10, 11, 12, 14, 15, 24, 25, 31, 34, 62, 64])
      expect(await endOf(`ulimit -c 0; kill -${signal} $$; sleep 60`), `signal ${signal}`).toEqual([128 + signal, "signal"]);
    for (const signal of [2, 13])
      expect(await endOf(`kill -${signal} $$; sleep 60`), `signal ${signal}`).toEqual([128 + signal, undefined]);
    for (const code of [0, 1, 129, 137, 143, 145, 192, 255]) expect(await endOf(`exit ${code}`), `code ${code}`).toEqual([code, "code"]);
    for (const code of [130, 141]) expect(await endOf(`exit ${code}`), `code ${code}`).toEqual([code, undefined]);
  });

  test("what its shell says before the command begins is no word about the command's end [F-2.3]", async () => {
    const tools = await toolsOf(shell);
    if (tools === undefined) return;
    // bash warns of a locale that the machine does not have, at the start of each shell.
    const run = await commandRun({ tools, argv: ["sh", "-c", "exit 129"], env: { LC_ALL: "xx_XX.UTF-8" } });
    expect(await run.exit()).toMatchObject({ kind: "exit", status: 129 });
    expect(await readEndedBy(run)).toBe("code");
    expect((await readFile(runFiles(run.runDir).shellSaid, "utf8")).includes("setlocale")).toBe(shell === "bash");
  });

  test("signals to the wrapper neither end it nor change the status it records", async () => {
    const tools = await toolsOf(shell);
    if (tools === undefined) return;
    const run = await commandRun({ tools, argv: ["sh", "-c", "read line < gate; exit 7"], go: false });
    const gate = join(run.workDir, "gate");
    makeFifo(gate);
    for (const signal of ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGPIPE"] as const)
      kill(run, run.wrapper.identity.pid, signal);
    run.wrapper.go();
    await run.command();
    for (const signal of ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGPIPE"] as const)
      kill(run, run.wrapper.identity.pid, signal);
    await writeFile(gate, "go\n");
    expect(await run.exit()).toMatchObject({ kind: "exit", status: 7 });
  });

  test("a killed wrapper leaves the command running under its own identity, holding the life pipe", async () => {
    const tools = await toolsOf(shell);
    if (tools === undefined) return;
    const run = await commandRun({ tools, argv: ["sleep", "60"] });
    const command = await run.command();
    kill(run, run.wrapper.identity.pid, "SIGKILL");
    await run.wrapper.exited;
    expect(run.tree.table.look(command.pid)).toMatchObject({ kind: "seen", row: { startTime: command.startTime } });
    expect(await probeLifePipe(run.runDir)).toBe("held");
    kill(run, command.pid, "SIGKILL");
    await until(async () => (await probeLifePipe(run.runDir)) === "released", { what: "the life pipe to be released" });
  });

  test("a command that does not exist ends with 127 and a message, one that may not be executed with 126", async () => {
    const tools = await toolsOf(shell);
    if (tools === undefined) return;
    const missing = await commandRun({ tools, argv: ["no-such-program", "x"] });
    expect(await missing.exit()).toMatchObject({ kind: "exit", status: 127 });
    expect(await stderrOf(missing)).toContain("no-such-program");
    const forbidden = await commandRun({ tools, argv: ["./plain"], go: false });
    await writeFile(join(forbidden.workDir, "plain"), "not a program", { mode: 0o600 });
    forbidden.wrapper.go();
    expect(await forbidden.exit()).toMatchObject({ kind: "exit", status: 126 });
    expect(await stderrOf(forbidden)).toContain("plain");
  });

  test("holds the command to its limits", async () => {
    const tools = await toolsOf(shell);
    if (tools === undefined) return;
    const run = await commandRun({
      tools,
      argv: ["sh", "-c", "ulimit -v; ulimit -t; ulimit -n; nice"],
      limits: { memoryBytes: 512 * 1024 * 1024, cpuSeconds: 33, openFiles: 77, nice: 5 },
    });
    expect(await run.exit()).toMatchObject({ kind: "exit" });
    expect(await stderrOf(run)).toBe("");
    expect((await stdoutOf(run)).split("\n").slice(0, 4)).toEqual([String(512 * 1024), "33", "77", "5"]);
  });

  test("a command that removes its own record from its folder ends as what it was, not as one that never began", async () => {
    const tools = await toolsOf(shell);
    if (tools === undefined) return;
    const run = await commandRun({ tools, argv: ["sh", "-c", 'rm "${WAKEFUL_HEARTBEAT_FILE%/*}/command"; exit 7'] });
    expect(await run.exit()).toMatchObject({ kind: "exit", status: 7 });
    await expect(stat(runFiles(run.runDir).command)).rejects.toThrow("ENOENT");
  });

  test("what it holds for itself is not handed down to the command, but the life pipe is", async () => {
    const tools = await toolsOf(shell);
    if (tools === undefined) return;
    const run = await commandRun({ tools, argv: ["sh", "-c", "exec ls -l /proc/self/fd/"] });
    await run.exit();
    const links = (await stdoutOf(run)).split("\n").filter((line) => line.includes(run.runDir));
    expect(links.map((line) => line.split("/").at(-1)).toSorted((a = "", b = "") => a.localeCompare(b))).toEqual([
      "alive",
      "stderr.log",
      "stdout.log",
    ]);
  });

  test("a command that cannot record itself is not executed and ends as nogo", async () => {
    const tools = await toolsOf(shell);
    if (tools === undefined) return;
    const run = await commandRun({ tools, argv: ["touch", "ran"], go: false });
    // Stands for a full disk: the record cannot be created.
    await symlink("missing/file", runFiles(run.runDir).command);
    run.wrapper.go();
    expect(await run.exit()).toMatchObject({ kind: "nogo" });
    await expect(stat(join(run.workDir, "ran"))).rejects.toThrow("ENOENT");
  });
});
