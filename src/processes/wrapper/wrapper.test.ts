import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { type CommandRun, commandRun, shellNames, toolsOf } from "../../../test/support/command-run.ts";
import { makeFifo } from "../../../test/support/fifo.ts";
import { until } from "../../../test/support/until.ts";
import { asRunId } from "../../domain/ids.ts";
import { readExitRecord } from "../run-folder/exit-record.ts";
import { probeLifePipe } from "../run-folder/life-pipe.ts";
import { readCommand, readStarted, runFiles } from "../run-folder/run-files.ts";
import { spawnWrapper } from "./wrapper.ts";

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

  test("gives the command its arguments byte for byte, its input on stdin, and its environment", async () => {
    const tools = await toolsOf(shell);
    if (tools === undefined) return;
    const args = ["two words", "line\nbreak", "-n", "--", "'single' \"double\"", "$HOME `id` \\ *", "", "ünïcødé"];
    const script =
      "process.stdout.write(JSON.stringify({args:process.argv.slice(1),in:require('fs').readFileSync(0,'utf8'),env:process.env}))";
    const run = await commandRun({
      tools,
      argv: [process.execPath, "-e", script, "--", ...args],
      input: '{"page":1}',
      env: { dir: "mine", run: "mine", PLAIN: "a b\nc'\"$x" },
    });
    expect(await run.exit()).toMatchObject({ kind: "exit", status: 0 });
    const seen = JSON.parse(await stdoutOf(run)) as { args: string[]; in: string; env: Record<string, string> };
    expect(seen.args).toEqual(args);
    expect(seen.in).toBe('{"page":1}');
    expect(seen.env).toMatchObject({
      dir: "mine",
      run: "mine",
      PLAIN: "a b\nc'\"$x",
      WAKEFUL_RUN_ID: String(run.runId),
      WAKEFUL_RUN_MARKER: `${run.runId}:${run.host.hostId}`,
    });
    expect(Object.keys(seen.env).filter((name) => name.startsWith("_wkf"))).toEqual([]);
    expect(await readFile(runFiles(run.runDir).input, "utf8")).toBe('{"page":1}');
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
      "input.json",
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

test("a run directory is made once: a second start of the same run id is refused", async () => {
  const tools = await toolsOf("dash");
  if (tools === undefined) return;
  const run = await commandRun({ tools, argv: ["true"] });
  await run.exit();
  const again = spawnWrapper({
    runDir: run.runDir,
    runId: run.runId,
    host: run.host,
    tools,
    argv: ["true"],
    env: {},
    cwd: run.workDir,
    input: "",
  });
  await expect(again).rejects.toMatchObject({ code: "run_dir_exists", details: { runDir: run.runDir } });
});

test("a missing work directory, a missing shell and a mute shell are named", async () => {
  const tools = await toolsOf("dash");
  if (tools === undefined) return;
  const run = await commandRun({ tools, argv: ["true"] });
  const start = (name: string, changes: object): Promise<unknown> =>
    spawnWrapper({
      runDir: `${run.runDir}${name}`,
      runId: asRunId(1),
      host: run.host,
      tools,
      argv: ["true"],
      env: {},
      cwd: run.workDir,
      input: "",
      ...changes,
    });
  await expect(start("1", { cwd: join(run.workDir, "gone") })).rejects.toMatchObject({
    code: "wrapper_failed",
    message: /work directory .* does not exist/,
  });
  await expect(start("2", { tools: { ...tools, shell: "/no/shell" } })).rejects.toMatchObject({
    code: "wrapper_failed",
    message: /ENOENT/,
  });
  await expect(start("3", { tools: { ...tools, shell: "/bin/true" } })).rejects.toMatchObject({
    code: "wrapper_failed",
    message: /ended early/,
  });
});

test("a command that no process can be given is refused before anything is made", async () => {
  const tools = await toolsOf("dash");
  if (tools === undefined) return;
  for (const argv of [[], [""], ["-x"], ["echo", "a\0b"]]) {
    await expect(commandRun({ tools, argv })).rejects.toMatchObject({ code: "bad_request" });
  }
  await expect(commandRun({ tools, argv: ["true"], limits: { nice: 40 } })).rejects.toMatchObject({ code: "bad_request" });
});

describe("a wrapper whose starter is killed", () => {
  /** A starter of its own process: it starts the wrapper, says go if told so, and waits to be killed. */
  async function starter(run: CommandRun, { go }: { readonly go: boolean }) {
    const source = `
      const { spawnWrapper } = await import(${JSON.stringify(new URL("./wrapper.ts", import.meta.url).href)});
      const wrapper = await spawnWrapper(JSON.parse(process.argv[1]));
      ${go ? "wrapper.go();" : ""}
      process.stdout.write("ready");
      setInterval(() => {}, 1000);`;
    const runDir = join(run.workDir, String(run.runId));
    const { runId, host, workDir: cwd } = run;
    const tools = await toolsOf("dash");
    const args = JSON.stringify({ runDir, runId, host, tools, argv: ["sleep", "60"], env: { PATH: "/usr/bin:/bin" }, cwd, input: "{}" });
    const child = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", source, args], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    onTestFinished(() => void child.kill("SIGKILL"));
    await once(child.stdout, "data");
    return { child, runDir };
  }

  test("before go runs nothing and records nogo; after go its command goes on", async () => {
    const tools = await toolsOf("dash");
    if (tools === undefined) return;
    const run = await commandRun({ tools, argv: ["true"] });
    const before = await starter(run, { go: false });
    before.child.kill("SIGKILL");
    await until(async () => (await readExitRecord({ runDir: before.runDir, runId: run.runId })).kind === "nogo", { what: "nogo" });

    const other = await commandRun({ tools, argv: ["true"] });
    const after = await starter(other, { go: true });
    const command = await until(() => readCommand({ runDir: after.runDir, runId: other.runId }));
    after.child.kill("SIGKILL");
    await once(after.child, "exit");
    expect(await probeLifePipe(after.runDir)).toBe("held");
    expect(other.tree.table.look(command.pid)).toMatchObject({ kind: "seen", row: { startTime: command.startTime } });
    other.tree.table.signal(command.pid, "SIGTERM");
    const record = await until(async () => {
      const found = await readExitRecord({ runDir: after.runDir, runId: other.runId });
      return found.kind === "exit" ? found : undefined;
    });
    expect(record.status).toBe(143);
    await until(async () => (await probeLifePipe(after.runDir)) === "released");
  });
});
