import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { readHostIdentity } from "../../src/processes/probe/host-identity.ts";
import type { ProcessIdentity } from "../../src/processes/probe/identity.ts";
import { identityOf } from "../../src/processes/probe/own-identity.ts";
import { systemProcessTable } from "../../src/processes/probe/process-table.ts";
import { api } from "../../src/protocol/api/index.ts";
import { oneStage, startTestDaemon, submit, type TestDaemon, untilItem } from "../support/daemon.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";
import { writtenPid } from "../support/written-pid.ts";

const table = systemProcessTable();
const yaml = `${oneStage("setsid sh -c 'echo $$ > served; exec sleep 600' & until [ -e go ]; do sleep 0.02; done", "cwd: .")}
stop: { stopGraceMs: 100, killGraceMs: 100 }
`;

function lives({ pid, startTime }: ProcessIdentity): boolean {
  const sight = table.look(pid);
  return sight.kind === "seen" && sight.row.startTime === startTime && sight.row.state !== "Z";
}

/** A process that the run's command started, registered as the process of a `wakeful run` session. */
async function registered({ folder, dataDir, client }: TestDaemon): Promise<ProcessIdentity> {
  const pid = await writtenPid(join(folder, "served"));
  const sight = table.look(pid);
  if (sight.kind !== "seen") throw new Error("what the command started is gone");
  const identity = identityOf(await readHostIdentity({ stateDir: dataDir, randomId: () => "never-asked" }), sight.row);
  onTestFinished(() => {
    if (lives(identity)) table.signal(pid, "SIGKILL");
  });
  await client.call(api.openRunSession, { body: { argv: ["sleep"], cwd: folder, process: identity } });
  return identity;
}

test("a registered session that a command has started is no stray of it, from the first moment of the next daemon on", async () => {
  const folder = tempDir("shielded");
  const before = await startTestDaemon({ yaml, folder });
  const id = await submit(before.client, "book");
  const session = await registered(before);
  await before.stop("leave");
  // The command ends while no daemon runs, so the next daemon looks for its strays first.
  writeFileSync(join(folder, "go"), "");
  const exit = join(before.dataDir, "runs", "1", "exit");
  await until(() => (existsSync(exit) ? true : undefined));

  const after = await startTestDaemon({ yaml, folder });
  await untilItem(after.client, id, "done");
  expect(lives(session)).toBe(true);
});

test("a session is no stray of the command that has started it from the moment of its registration on, and while nobody judges sessions", async () => {
  const folder = tempDir("shielded-off");
  const daemon = await startTestDaemon({ yaml, folder, flags: { "loops.worker-reaper.enabled": false } });
  const id = await submit(daemon.client, "book");
  const session = await registered(daemon);
  writeFileSync(join(folder, "go"), "");
  await untilItem(daemon.client, id, "done");
  expect(lives(session)).toBe(true);
});
