import { expect, test } from "vitest";
import { api } from "../../src/protocol/api/index.ts";
import { cli } from "../support/cli-call.ts";
import { oneStage, startTestDaemon } from "../support/daemon.ts";
import { until } from "../support/until.ts";

/** Keeps this process's event loop from everything else. */
function block(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

test("a worker of commands tells how late its event loop is, and people see it", async () => {
  const { client, folder } = await startTestDaemon({ yaml: `worker: { renewMs: 1s }\n${oneStage("true")}` });
  const lagOf = async () => (await client.call(api.listWorkers, { query: {} })).workers.find(({ kind }) => kind === "command")?.loopLagMs;
  await until(async () => (typeof (await lagOf()) === "number" ? true : undefined), { what: "a first lag" });
  await until(
    async () => {
      // Longer than a beat, so that one is always late; repeated, because each lag is reported by one renewal only.
      block(1300);
      return ((await lagOf()) ?? 0) >= 200;
    },
    { what: "the lag of the blocked loop" },
  );
  expect((await cli(["ls", "workers"], { cwd: folder })).out).toMatch(/LAG[\s\S]*\d+ms/);
});
