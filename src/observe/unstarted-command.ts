import { messageOf } from "../domain/errors.ts";
import type { PathAccess } from "../files/foreign/path-operation.ts";
import type { PathDevices } from "../files/path-devices.ts";
import { blameForStart, type StartFailure } from "../liveness/start-blame.ts";
import { readStart, runFiles } from "../processes/run-folder/run-files.ts";
import { findProgram, type ProgramSearch, programFolders } from "../processes/wrapper/find-program.ts";

/** A command that its shell could not execute: nothing of it has run. */
export interface UnstartedCommand {
  readonly kind: "not_started";
  /** Whose fault it is. `job`: the next start would fail the same way. */
  readonly blame: "job" | "machine";
  /** For people. */
  readonly why: string;
  readonly failure: StartFailure;
}

/** What the run's shell writes below its identity when it could not execute the command. */
const mark = "\nunstarted\n";
/** An identity and the mark. */
const recordBytesMax = 1024;
/** By these codes a shell says that it could not execute a program: it found none, or may not. */
const noProgram = 127;
const noExecution = 126;

/**
 * Why an exited run's command was never executed. Undefined: it was, and its exit code is its own. A file that cannot be read proves nothing,
 * and the exit code counts.
 */
export async function readUnstarted(run: {
  readonly runDir: string;
  readonly status: number;
  readonly search: ProgramSearch;
  readonly access: PathAccess;
  readonly devices: PathDevices;
}): Promise<UnstartedCommand | undefined> {
  const { runDir, status, search, access, devices } = run;
  const files = runFiles(runDir);
  if ((await textOf(files.command))?.includes(mark) !== true) return undefined;
  const said = lastLineOf((await textOf(files.stderrLog)) ?? "");
  const folders = [search.cwd, ...programFolders(search)];
  const { code, why } = await causeOf({ status, search, access }, said);
  const failure: StartFailure = {
    step: status === noProgram || status === noExecution ? "program" : "run_folder",
    code,
    otherDevice: await devices.areElsewhere(folders),
  };
  return { kind: "not_started", blame: blameForStart(failure) === "job" ? "job" : "machine", why: `cannot start: ${why}`, failure };
}

async function causeOf(
  { status, search, access }: { readonly status: number; readonly search: ProgramSearch; readonly access: PathAccess },
  said: string,
): Promise<{ readonly code: string | undefined; readonly why: string }> {
  const { program } = search;
  if (status !== noProgram && status !== noExecution) return { code: undefined, why: said };
  const found = await findProgram(search, access).catch(withoutAnswer);
  if (typeof found === "string") return { code: undefined, why: found };
  if (found.kind === "missing") return { code: found.code, why: missingText(program, found.code) };
  if (status === noProgram) return { code: "ENOENT", why: `${found.file} is there, but not the interpreter that its first line names` };
  // Here only the shell has the error. It uses the C library's words.
  const code = Object.entries(words).find(([text]) => said.includes(text))?.[1];
  return { code, why: `${found.file} could not be executed: ${said}` };
}

const withoutAnswer = (thrown: unknown): string => messageOf(thrown);

const words: Readonly<Record<string, string>> = {
  "Argument list too long": "E2BIG",
  "Exec format error": "ENOEXEC",
  "Permission denied": "EACCES",
};

function missingText(program: string, code: string): string {
  const byPath = program.includes("/");
  if (code === "EACCES") return `${program} is no file that the daemon's user may execute`;
  if (code !== "ENOENT" && code !== "ENOTDIR") return `${program} cannot be looked at (${code})`;
  return byPath ? `${program} does not exist` : `${program} is not in PATH`;
}

async function textOf(path: string): Promise<string | undefined> {
  return (await readStart(path, recordBytesMax).catch(() => undefined))?.text;
}

const lastLineOf = (text: string): string => text.trim().split("\n").at(-1) ?? "";
