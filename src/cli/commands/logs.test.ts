import { mkdirSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { apiDaemon } from "../../../test/support/api-daemon.ts";
import { cli } from "../../../test/support/cli-call.ts";
import { failure, startRun } from "../../../test/support/store-rows.ts";

test("a tail that is no number of bytes is refused in words of the command line", async () => {
  expect(await cli(["logs", "job:1", "--tail", "x"])).toEqual({ code: 2, out: "", err: "--tail x must be a number of bytes.\n" });
});

test("of a job or an item the newest run is printed, each stream to its own; what never ran has none", async () => {
  const daemon = await apiDaemon();
  const { store, operations } = daemon.services;
  const runsDir = `${daemon.services.daemon.dataDir}/runs`;
  await operations.submit({ pipeline: "comics", key: "batman", actor: "t" });
  expect((await cli(["logs", "item:1"], { daemon })).code).toBe(4);
  const worker = await daemon.worker();
  for (const text of ["old", "new"]) {
    const [run] = await daemon.claim(worker, ["comics/prep"]);
    if (run === undefined) throw new Error("nothing was claimed");
    await startRun(store, run);
    mkdirSync(`${runsDir}/${run.runId}`, { recursive: true });
    writeFileSync(`${runsDir}/${run.runId}/stdout.log`, `${text} é`);
    writeFileSync(`${runsDir}/${run.runId}/stderr.log`, `${text} complaint\nand its end`);
    await store.runs.settle([failure(run, { disposition: undefined })]);
  }
  for (const what of ["comics/batman", "job:1"])
    expect(await cli(["logs", what], { daemon })).toEqual({ code: 0, out: "new é", err: "new complaint\nand its end\n" });
  expect(JSON.parse((await cli(["logs", "run:1", "--json"], { daemon })).out)).toEqual({
    runId: 1,
    stdout: "old é",
    stderr: "old complaint\nand its end",
  });
});
