import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { commandRun, toolsOf } from "../../../test/support/command-run.ts";
import { tempDir } from "../../../test/support/temp-dir.ts";
import { until } from "../../../test/support/until.ts";
import { makeLifePipe, probeLifePipe } from "./life-pipe.ts";
import { runFiles } from "./run-files.ts";
import { type RunHint, watchRun } from "./watch-run.ts";

test("the command's and the exit's record are hinted at", async () => {
  const tools = await toolsOf("dash");
  if (tools === undefined) return;
  const run = await commandRun({ tools, argv: ["true"], go: false });
  const hints = new Set<RunHint>();
  const watch = watchRun({ runDir: run.runDir, onHint: (hint) => hints.add(hint) });
  onTestFinished(() => watch.close());
  run.wrapper.go();
  await until(() => hints.size === 2, { everyMs: 2 });
  expect(watch.broken).toBeUndefined();
});

test("a directory that cannot be watched only gives no hints", () => {
  const watch = watchRun({ runDir: join(tempDir(), "none"), onHint: () => expect.unreachable() });
  expect(watch.broken).toContain("ENOENT");
  watch.close();
});

test("a life pipe says held, released, or nothing at all", async () => {
  const runDir = tempDir();
  expect(await probeLifePipe(runDir)).toBe("unknown");
  await makeLifePipe(runDir);
  expect(await probeLifePipe(runDir)).toBe("released");
  const plain = tempDir();
  execFileSync("touch", [runFiles(plain).lifePipe]);
  expect(await probeLifePipe(plain)).toBe("unknown");
});
