import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { api } from "../../src/protocol/api/index.ts";
import { oneStage, startTestDaemon, submit, untilItem } from "../support/daemon.ts";
import { skipTest } from "../support/skips.ts";
import { until } from "../support/until.ts";

const hasFfmpeg = spawnSync("ffmpeg", ["-version"]).status === 0;

test("a command that reads its standard input meets its end at once, and finds its input in the file [F-2.1]", async () => {
  const script = 'cd "$WAKEFUL_WORK_DIR" && cat > stdin && readlink /proc/self/fd/0 > name && cp "$WAKEFUL_INPUT_FILE" input';
  const { client, dataDir } = await startTestDaemon({ yaml: oneStage(script) });
  await untilItem(client, await submit(client, "squad"), "done");
  const made = (name: string): string => readFileSync(join(dataDir, "work", "squad", name), "utf8");
  expect(made("stdin")).toBe("");
  expect(made("name")).toBe("/dev/null\n");
  expect(JSON.parse(made("input"))).toMatchObject({ item: { key: "squad" } });
});

test("the log of a command that says much in its last moment is cut all the same [F-2.7]", async () => {
  const yaml = oneStage("head -c 30000000 /dev/zero", "log: { maxBytes: 65536 }");
  const { client, dataDir } = await startTestDaemon({ yaml });
  const id = await submit(client, "loud");
  const { runs } = await untilItem(client, id, "done");
  expect(statSync(join(dataDir, "runs", String(runs[0]?.id), "stdout.log")).size).toBeLessThanOrEqual(65_536);
});

test("so is that of a command that says much while it is being stopped [F-2.7]", async () => {
  const script = "trap 'head -c 30000000 /dev/zero; exit' TERM; echo > \"$WAKEFUL_WORK_DIR/ready\"; while :; do sleep 0.05; done";
  const { client, dataDir, log } = await startTestDaemon({ yaml: oneStage(script, "log: { maxBytes: 65536 }") });
  const id = await submit(client, "loud");
  await until(() => existsSync(join(dataDir, "work/loud/ready")), { what: "the command to be at work" });
  await client.call(api.cancelItem, { params: { id }, body: { reason: "enough" } });
  await until(() => log.some((line) => line.includes("run.stopped")), { what: "the command to be stopped" });
  const { runs } = await client.call(api.getItem, { params: { id } });
  expect(statSync(join(dataDir, "runs", String(runs[0]?.id), "stdout.log")).size).toBeLessThanOrEqual(65_536);
});

test("ffmpeg takes no letter of a key for one of its own commands [F-2.1]", async (context) => {
  if (!hasFfmpeg) skipTest(context, "ffmpeg is not installed");
  const script = "cd $WAKEFUL_WORK_DIR && ffmpeg -loglevel error -y -re -f lavfi -i testsrc -t 12 -c:v mpeg4 o.mp4";
  const { client, dataDir } = await startTestDaemon({ yaml: oneStage(script) });
  const keys = ["squad", "abc"];
  const items = await Promise.all(keys.map(async (key) => await submit(client, key)));
  await Promise.all(items.map(async (item) => await untilItem(client, item, "done")));
  for (const key of keys) {
    const video = join(dataDir, "work", key, "o.mp4");
    expect(existsSync(video)).toBe(true);
    const seconds = execFileSync("ffprobe", ["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", video], {
      encoding: "utf8",
    });
    expect(Number(seconds)).toBeCloseTo(12, 1);
  }
});
