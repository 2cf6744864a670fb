import { expect, test } from "vitest";
import { apiDaemon } from "../../../test/support/api-daemon.ts";
import { cli } from "../../../test/support/cli-call.ts";
import { failure, startRun } from "../../../test/support/store-rows.ts";

test("an item is shown with its input, its visits, their jobs and the attempts of each", async () => {
  const daemon = await apiDaemon();
  const { store, operations } = daemon.services;
  await operations.submit({ pipeline: "comics", key: "batman", label: "Batman.cbz", input: '{"pages":3}', actor: "t" });
  const [run] = await daemon.claim(await daemon.worker(), ["comics/prep"]);
  if (run === undefined) throw new Error("nothing was claimed");
  await startRun(store, run);
  await store.runs.settle([failure(run, { reason: "exit_code", message: "no pages\nin it" })]);
  const { out } = await cli(["show", "comics/batman"], { daemon });
  expect(out).toMatch(/^item:1\n[\s\S]*label +Batman\.cbz[\s\S]*"pages":3[\s\S]*visit 1: stage prep, failed; attempts 1\/3/);
  expect(out).toMatch(/ {4}job:1\n[\s\S]* {8}attempt 1 \(run:1\)\n[\s\S]*outcome +failed \(exit_code\)/);
  // A message of several lines stays in its column.
  expect(out).toMatch(/ {10}message +no pages\n +in it\n/);
  expect((await cli(["show", "1"], { daemon })).out).toMatch(/^job:1\n[\s\S]* {4}attempt 1/);
  expect((await cli(["show", "run:1"], { daemon })).out).toMatch(/^attempt 1 \(run:1\)\n/);
});
