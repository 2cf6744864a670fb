import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { type CommandRun, commandRun, toolsOf } from "../../../test/support/command-run.ts";
import { until } from "../../../test/support/until.ts";
import { asRunId } from "../../domain/ids.ts";
import { readExitRecord } from "../run-folder/exit-record.ts";
import { probeLifePipe } from "../run-folder/life-pipe.ts";
import { readCommand } from "../run-folder/run-files.ts";
import { spawnWrapper } from "./wrapper.ts";

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
