import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { addMs, asInstant, hours, minutes } from "../../src/domain/time.ts";
import { FakeClock } from "../../src/runtime/fake-clock.ts";
import { openStore } from "../../src/store/open-store.ts";
import { cli } from "../support/cli-call.ts";
import { oneStage, startTestDaemon, submit, untilItem } from "../support/daemon.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";

const yaml = `http: { listen: 127.0.0.1:0 }\n${oneStage("true")}`;

/** A data folder whose store holds an instant so far ahead of the wall. */
async function folderAhead(aheadMs: number): Promise<string> {
  const folder = tempDir("ahead");
  await mkdir(join(folder, "data"), { mode: 0o700 });
  const now = addMs(asInstant(Date.now()), aheadMs);
  const store = await openStore({ url: join(folder, "data", "wakeful.db"), clock: { now: () => now } });
  await store.jobs.ensureQueues([{ name: "t", kind: "handler" }]);
  await store.jobs.enqueue({ queue: "t", jobs: [{}] });
  await store.close();
  return folder;
}

const alerts = async (dataDir: string): Promise<string> => await readFile(join(dataDir, "alerts.jsonl"), "utf8").catch(() => "");

test("a daemon on a store two hours ahead of the wall says so, works, and is cured by doctor --reset-clock", async () => {
  const folder = await folderAhead(hours(2));
  const before = await startTestDaemon({ yaml, folder });
  await untilItem(before.client, await submit(before.client, "first"), "done");
  const told = await until(async () => (await alerts(before.dataDir)) || undefined, { what: "the alert" });
  expect(JSON.parse(told)).toMatchObject({ cause: "clock:ahead", title: expect.stringContaining("--reset-clock") });
  await before.stop();
  // The epoch's instants are real ones here, so the command line gets the real wall.
  const reset = await cli(["doctor", "--reset-clock", "--json"], { cwd: folder, host: { clock: new FakeClock({ wallMs: Date.now() }) } });
  expect([reset.code, JSON.parse(reset.out).rows > 0]).toEqual([0, true]);
  const after = await startTestDaemon({ yaml, folder });
  const id = await submit(after.client, "second");
  const { item } = await untilItem(after.client, id, "done");
  expect(Math.abs((item.finishedAt ?? 0) - Date.now())).toBeLessThan(minutes(1));
  expect(await alerts(after.dataDir)).toBe(told);
});
