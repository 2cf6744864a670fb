import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

export const repository = fileURLToPath(new URL("..", import.meta.url));

/** Runs one cell in a process of its own, so that no cell inherits the heap, the caches or the open files of another. */
export async function runCell(file: string, question: object): Promise<Readonly<Record<string, number>>> {
  const typescript = file.endsWith(".ts") ? ["--import", "tsx"] : [];
  const child = spawn(process.execPath, [...typescript, fileURLToPath(new URL(file, import.meta.url)), JSON.stringify(question)], {
    cwd: repository,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  let err = "";
  child.stdout.on("data", (text: Buffer) => {
    out += text.toString();
  });
  child.stderr.on("data", (text: Buffer) => {
    err += text.toString();
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  const last = out.trim().split("\n").at(-1) ?? "";
  if (code !== 0 || !last.startsWith("{"))
    throw new Error(`${file} ${JSON.stringify(question)} ended with ${String(code)}: ${err.trim().slice(-2000)}`);
  return JSON.parse(last) as Readonly<Record<string, number>>;
}
