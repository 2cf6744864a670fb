import { spawn } from "node:child_process";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { readSecrets } from "../../files/secrets.ts";
import type { StartFailure } from "../../liveness/start-blame.ts";
import type { StageDefinition } from "../../pipelines/definition.ts";
import { commandPath } from "../../processes/wrapper/environment.ts";
import { findProgram, type ProgramSearch, programFolders } from "../../processes/wrapper/find-program.ts";
import { checkWorkDirectory } from "../../processes/wrapper/wrapper.ts";
import type { CommandRunDeps } from "./command-run-deps.ts";

/** Where the program of a stage is looked for. */
export function searchOf(
  stage: StageDefinition,
  { baseDir, environment }: Pick<CommandRunDeps["launch"], "baseDir" | "environment">,
): ProgramSearch {
  const program = stage.run.kind === "command" ? (stage.run.argv[0] ?? "") : "";
  return { program, cwd: resolve(baseDir, stage.cwd ?? "."), path: commandPath(environment, stage.env) };
}

/** The folders that a stage's start depends on. */
export const foldersOf = (search: ProgramSearch): readonly string[] => [search.cwd, ...programFolders(search)];

/** Tries a step of a stage's start that the machine prevented, and nothing else of it. Rejects while it still fails. */
export async function probeStart(
  { step }: Pick<StartFailure, "step">,
  stage: StageDefinition,
  { host: { paths }, launch }: Pick<CommandRunDeps, "host" | "launch">,
): Promise<void> {
  switch (step) {
    case undefined:
      return;
    case "secret":
      await readSecrets(stage.envFiles, launch);
      return;
    case "cwd":
    case "program":
      await probeFolders(searchOf(stage, launch), step, launch);
      return;
    case "run_folder":
      await probeWriting(paths.runsDir);
      return;
    case "work_dir":
      await probeWriting(paths.workDir);
      return;
    case "shell":
      await probeShell(launch.tools.shell);
  }
}

async function probeFolders(search: ProgramSearch, step: "cwd" | "program", { devices, access }: CommandRunDeps["launch"]): Promise<void> {
  if (await devices.areElsewhere(foldersOf(search))) throw new Error("a folder is on another device");
  await checkWorkDirectory(search.cwd, access);
  if (step === "cwd") return;
  const found = await findProgram(search, access);
  if (found.kind === "missing") throw new Error(found.code);
}

/** A folder and a file with content: what a run's own folder needs. */
async function probeWriting(folder: string): Promise<void> {
  const probe = join(folder, `.probe-${process.pid}`);
  try {
    await mkdir(probe, { recursive: true, mode: 0o700 });
    await writeFile(join(probe, "file"), "wakeful\n", { mode: 0o600 });
  } finally {
    await rm(probe, { recursive: true, force: true });
  }
}

/** As many processes and descriptors at once as a wrapper needs: a shell with one below it. */
async function probeShell(shell: string): Promise<void> {
  await new Promise<void>((done, failed) => {
    const child = spawn(shell, ["-c", "/bin/true & wait $!"], { env: {}, stdio: ["ignore", "ignore", "ignore", "pipe"] });
    child.once("error", failed);
    child.once("exit", (code) => (code === 0 ? done() : failed(new Error(`the shell ended with ${code}`))));
  });
}
