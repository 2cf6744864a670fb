import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";
import { bundleWakeful, startWakeful } from "../support/wakeful-program.ts";
import { writtenPid } from "../support/written-pid.ts";

let program: string;
let remove: () => void;
beforeAll(async () => {
  ({ program, remove } = await bundleWakeful());
});
afterAll(() => remove());

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    // Gone: the process is this user's own, so the error has no other cause.
    return false;
  }
};

test("a command that ignores TERM does not outlive a daemon that is interrupted twice", async () => {
  const folder = tempDir("interrupt");
  writeFileSync(
    join(folder, "wakeful.yaml"),
    `dataDir: ./data
http: { listen: 127.0.0.1:0 }
worker: { deadAfterMs: 2m }
stop: { stopGraceMs: 60s }
pipelines:
  p:
    stages:
      work:
        run: { command: [sh, -c, "trap '' TERM; echo $$ > ${folder}/pid; while :; do sleep 1; done"] }
        timeout: 1h
`,
  );
  const up = startWakeful(program, ["up"], { cwd: folder });
  await until(() => up.err().includes("listens on"));
  expect(await startWakeful(program, ["submit", "p"], { cwd: folder }).ended).toBe(0);
  const pid = await writtenPid(join(folder, "pid"));
  onTestFinished(() => {
    if (isAlive(pid)) process.kill(pid, "SIGKILL");
  });
  up.child.kill("SIGINT");
  await until(() => up.err().includes("once more: kill them"));
  up.child.kill("SIGINT");
  expect(await up.ended).toBe(130);
  // It is dead; its wrapper may not have read the exit status yet.
  await until(() => !isAlive(pid), { what: "the command to be gone" });
});
