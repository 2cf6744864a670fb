/** How long a person waits for `wakeful --help`: from the start of the process to its end, `times` times. */
import { spawnSync } from "node:child_process";
import { answer, question } from "./answer.ts";
import { wakeful } from "./built.ts";

const { times } = question() as { times: number };

const samples: number[] = [];
for (let at = 0; at < times; at++) {
  const began = performance.now();
  const { status, stderr } = spawnSync(process.execPath, [wakeful, "--help"], { encoding: "utf8" });
  if (status !== 0) throw new Error(`wakeful --help ended with ${String(status)}: ${stderr}`);
  samples.push(performance.now() - began);
}
answer({ samples });
