import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { tempDir } from "../../test/support/temp-dir.ts";
import { loadConfiguration } from "../pipelines/reading/load.ts";
import { exampleFiles } from "./example-project.ts";

/** The example as `wakeful init` writes it. */
function written(): string {
  const folder = tempDir("example");
  for (const { path, text } of exampleFiles) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  return folder;
}

test("the example is read without a warning, and bounds everything that it starts", async () => {
  const { pipelines, warnings } = await loadConfiguration({ cwd: written(), env: {} });
  expect([warnings, pipelines.map(({ name }) => name)]).toEqual([[], ["words"]]);
  const bounds = { heartbeat: { timeoutMs: 60_000 }, timeoutMs: 600_000, maxLosses: 3, attempts: 3 };
  expect(Object.values(pipelines[0]?.stages ?? {})).toMatchObject([bounds, bounds]);
});

test("its two steps make a report of the file that comes with it, by the names that a run is given, and beat", () => {
  const folder = written();
  const workDir = tempDir("work");
  const env = {
    PATH: process.env["PATH"],
    WAKEFUL_INPUT_FILE: join(workDir, "input.json"),
    WAKEFUL_WORK_DIR: workDir,
    WAKEFUL_HEARTBEAT_FILE: join(workDir, "heartbeat"),
    OUT_DIR: "./out",
  };
  writeFileSync(env.WAKEFUL_INPUT_FILE, JSON.stringify({ input: { file: join(folder, "in/hello.txt"), name: "hello.txt" } }));
  for (const step of ["count", "report"]) execFileSync(process.execPath, [`steps/${step}.js`], { cwd: folder, env });
  expect(readFileSync(join(workDir, "counts.json"), "utf8")).toMatch(/^\{/);
  expect(readFileSync(join(folder, "out/hello.txt.report"), "utf8")).toBe("hello.txt: 7 words\n");
  expect(readFileSync(env.WAKEFUL_HEARTBEAT_FILE, "utf8")).toMatch(/ start\n$/);
});
