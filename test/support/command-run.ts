import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { asHostId, asJobId, asRunId, type RunId } from "../../src/domain/ids.ts";
import { readHostIdentity } from "../../src/processes/probe/host-identity.ts";
import type { HostIdentity, ProcessIdentity } from "../../src/processes/probe/identity.ts";
import { linuxProcessTable } from "../../src/processes/probe/process-table.ts";
import { type ExitRecord, readExitRecord } from "../../src/processes/run-folder/exit-record.ts";
import { readCommand } from "../../src/processes/run-folder/run-files.ts";
import { livingMembers, type RunTree } from "../../src/processes/stopping/strays.ts";
import { commandEnvironment } from "../../src/processes/wrapper/environment.ts";
import {
  type CommandSurroundings,
  type SpawnWrapperOptions,
  type StartedWrapper,
  spawnWrapper,
} from "../../src/processes/wrapper/wrapper.ts";
import { findWrapperTools, type WrapperTools } from "../../src/processes/wrapper/wrapper-tools.ts";
import { skipped } from "./skips.ts";
import { tempDir } from "./temp-dir.ts";
import { until } from "./until.ts";

/** The shells that a wrapper must run on. */
export const shellNames = ["dash", "bash", "busybox"] as const;
export type ShellName = (typeof shellNames)[number];

const systemPath = "/usr/local/bin:/usr/bin:/bin";

function findOne(name: string): string | undefined {
  return systemPath
    .split(":")
    .map((directory) => join(directory, name))
    .find((path) => existsSync(path));
}

/** The wrapper's programs around one shell; `undefined`, with a note in the summary, when it is not installed. busybox brings its own programs. */
export async function toolsOf(shell: ShellName): Promise<WrapperTools | undefined> {
  const program = findOne(shell);
  if (program === undefined) {
    skipped(`${shell} is not installed`);
    return undefined;
  }
  if (shell !== "busybox") return await findWrapperTools({ path: systemPath, shell: program });
  const directory = tempDir("busybox");
  // Builds differ in their applets; a missing one comes from the system.
  const applets = new Set(execFileSync(program, ["--list"], { encoding: "utf8" }).split("\n"));
  for (const name of ["sh", "setsid", "mkfifo", "sync", "mv", "nice"]) if (applets.has(name)) symlinkSync(program, join(directory, name));
  return await findWrapperTools({ path: `${directory}:${systemPath}`, shell: join(directory, "sh") });
}

export interface CommandRun {
  readonly runDir: string;
  readonly workDir: string;
  readonly runId: RunId;
  readonly host: HostIdentity;
  readonly wrapper: StartedWrapper;
  readonly tree: RunTree;
  /** Waits until the command has recorded itself. */
  command(): Promise<ProcessIdentity>;
  /** Waits for the exit record. */
  exit(): Promise<ExitRecord>;
}

let lastRunId = 1000;

export type CommandRunOptions = { readonly tools: WrapperTools; readonly argv: readonly string[]; readonly go?: boolean } & Partial<
  Pick<SpawnWrapperOptions, "input" | "cwd" | "readyTimeoutMs"> & CommandSurroundings & { env: Readonly<Record<string, string>> }
>;

/**
 * Runs a real command under a real wrapper in its own directory, released at once unless the options say otherwise. When the test ends,
 * every process of the run is killed. Call it inside a test.
 */
export async function commandRun(options: CommandRunOptions): Promise<CommandRun> {
  const dir = tempDir("run");
  const workDir = options.cwd ?? join(dir, "work");
  if (options.cwd === undefined) mkdirSync(workDir);
  const host = await readHostIdentity({ stateDir: dir, randomId: () => `test-${process.pid}-${lastRunId}` });
  lastRunId += 1;
  const runId = asRunId(lastRunId);
  const runDir = join(dir, String(runId));
  const env = commandEnvironment({
    workerEnv: { PATH: systemPath },
    stageEnv: options.env ?? {},
    hostId: asHostId(host.hostId),
    run: { runId, jobId: asJobId(1), attempt: 1, runDir, workDir },
  });
  const table = linuxProcessTable();
  const { tools, argv, input = "{}", stdin, umask, limits = {}, readyTimeoutMs = 10_000 } = options;
  const wrapper = await spawnWrapper({
    runDir,
    runId,
    host,
    tools,
    argv,
    env,
    cwd: workDir,
    input,
    surroundings: { stdin, umask, limits },
    readyTimeoutMs,
  });
  const tree: RunTree = { runId, host, table, wrapper: wrapper.identity };
  onTestFinished(async () => {
    await until(
      async () => {
        const command = await readCommand({ runDir, runId });
        const left = livingMembers({ ...tree, command, endedAgoMs: 0 }).map((row) => row.pid);
        const wrapperRow = table.look(wrapper.identity.pid);
        if (wrapperRow.kind === "seen" && wrapperRow.row.startTime === wrapper.identity.startTime && wrapperRow.row.state !== "Z") {
          left.push(wrapper.identity.pid);
        }
        for (const pid of left) table.signal(pid, "SIGKILL");
        return left.length === 0;
      },
      { what: "the run's leftovers to be gone" },
    );
  });
  if (options.go !== false) wrapper.go();
  return {
    runDir,
    workDir,
    runId,
    host,
    wrapper,
    tree,
    command: () => until(() => readCommand({ runDir, runId }), { everyMs: 2, what: "the command to record itself" }),
    exit: () =>
      until(
        async () => {
          const record = await readExitRecord({ runDir, runId });
          return record.kind === "none" ? undefined : record;
        },
        { everyMs: 2, what: "the exit record" },
      ),
  };
}
