import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { api } from "../../src/protocol/api/index.ts";
import { cli } from "../support/cli-call.ts";
import { oneStage, startTestDaemon, submit, untilItem } from "../support/daemon.ts";
import { until } from "../support/until.ts";

test("a switch thrown while the daemon runs is seen by the next tick, and a bad change throws none [B-68]", async () => {
  const { client, folder, dataDir, log } = await startTestDaemon({ yaml: oneStage("true") });
  const settings = (...changes: string[]) => cli(["settings", ...changes], { cwd: folder });
  const stateOf = async (key: string): Promise<string> => {
    const text = await readFile(join(dataDir, "work", key, "state.json"), "utf8").catch(() => "{}");
    return String(JSON.parse(text).state);
  };
  const outboxOf = async () => (await client.call(api.listLoops, {})).loops.find(({ name }) => name === "outbox");

  expect((await settings("loops.outbox.enabled=false")).out).toContain("loops.outbox.enabled: true -> false");
  expect(await outboxOf()).toMatchObject({ enabled: false });
  await untilItem(client, await submit(client, "kept"), "done");
  const waiting = (await client.call(api.checkStore, {})).outboxWaiting;
  expect([waiting > 0, await stateOf("kept")]).toEqual([true, "undefined"]);

  const bad = await settings("loops.outbox.enabled=true", "reaper.deadTicks=0");
  expect([bad.code, bad.err]).toEqual([2, expect.stringContaining("reaper.deadTicks: 0")]);
  expect(await outboxOf()).toMatchObject({ enabled: false });
  // The longest stage timeout, 1 h, and its grace must fit, and those cannot change at run time.
  expect((await settings("reaper.maxRunningMs=1h")).code).toBe(2);

  expect((await settings("loops.outbox.enabled=true")).code).toBe(0);
  await until(async () => ((await stateOf("kept")) === "DONE" ? true : undefined), { what: "the state file of the item" });
  expect(log.filter((line) => line.includes("settings.changed"))).toHaveLength(2);
});

test("without a daemon there are no settings to change, and the command says so", async () => {
  const { folder, stop } = await startTestDaemon({ yaml: `http: { listen: 127.0.0.1:0 }\n${oneStage("true")}` });
  await stop();
  const { code, err } = await cli(["settings", "reaper.deadTicks=3"], { cwd: folder });
  expect([code, err]).toEqual([7, expect.stringContaining("No daemon answers")]);
});
