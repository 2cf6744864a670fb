import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

/** Test support: starts the steps as Wakeful does, as commands with the environment and the files of its contract. */

export const exampleDir = path.dirname(fileURLToPath(import.meta.url));

export interface StepRequest {
  readonly script: string;
  readonly source: string;
  readonly name?: string;
  readonly env?: Record<string, string>;
  readonly nodeArguments?: readonly string[];
}

export interface StepResult {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** What the step wrote to WAKEFUL_OUTPUT_FILE; undefined when it wrote nothing. */
  readonly output: Record<string, unknown> | undefined;
}

export interface StartedStep {
  readonly process: ChildProcess;
  readonly ended: Promise<StepResult>;
  readonly heartbeatFile: string;
  readonly progressFile: string;
}

/** One item's directories, which outlive its runs as they do in a real installation. */
export class ItemDirectory {
  readonly root: string;
  readonly workDir: string;
  readonly outDir: string;
  #runs = 0;

  constructor() {
    this.root = mkdtempSync(path.join(tmpdir(), "wakeful-ocr-"));
    this.workDir = path.join(this.root, "work");
    this.outDir = path.join(this.root, "out");
    mkdirSync(this.workDir);
  }

  file(name: string): string {
    return path.join(this.root, name);
  }

  start({ script, source, name = path.basename(source), env = {}, nodeArguments = [] }: StepRequest): StartedStep {
    this.#runs += 1;
    const runDir = path.join(this.root, `run-${this.#runs}`);
    mkdirSync(runDir);
    const file = (base: string) => path.join(runDir, base);
    writeFileSync(
      file("input.json"),
      JSON.stringify({ item: { key: "k1", pipeline: "comics" }, input: { file: source, name }, previous: null }),
    );
    const child = spawn(process.execPath, [...nodeArguments, script], {
      cwd: exampleDir,
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        PATH: process.env["PATH"] ?? "",
        WAKEFUL_JOB_ID: "1",
        WAKEFUL_RUN_ID: String(this.#runs),
        WAKEFUL_ITEM_KEY: "k1",
        WAKEFUL_STAGE: path.basename(script, ".js"),
        WAKEFUL_ATTEMPT: String(this.#runs),
        WAKEFUL_WORK_DIR: this.workDir,
        WAKEFUL_HEARTBEAT_FILE: file("heartbeat"),
        WAKEFUL_PROGRESS_FILE: file("progress"),
        WAKEFUL_INPUT_FILE: file("input.json"),
        WAKEFUL_OUTPUT_FILE: file("output.json"),
        OUT_DIR: this.outDir,
        ...env,
      },
    });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    const ended = new Promise<StepResult>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (exitCode, signal) => resolve({ exitCode, signal, stdout, stderr, output: readJson(file("output.json")) }));
    });
    return { process: child, ended, heartbeatFile: file("heartbeat"), progressFile: file("progress") };
  }

  async run(request: StepRequest): Promise<StepResult> {
    return this.start(request).ended;
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** The JSON in a file, or undefined while there is none. */
export function readJson(file: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Record<string, unknown>;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
