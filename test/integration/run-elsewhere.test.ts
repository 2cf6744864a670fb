import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, type TestContext, test } from "vitest";
import { api } from "../../src/protocol/api/index.ts";
import { startTestDaemon } from "../support/daemon.ts";
import { present } from "../support/present.ts";
import { skipTest } from "../support/skips.ts";
import { until } from "../support/until.ts";
import { bundleWakeful, startWakeful } from "../support/wakeful-program.ts";

let bundle: Awaited<ReturnType<typeof bundleWakeful>>;
beforeAll(async () => {
  bundle = await bundleWakeful();
});
afterAll(() => bundle.remove());

const ownNamespace = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"] as const;

function need(context: TestContext): void {
  try {
    execFileSync(ownNamespace[0], [...ownNamespace.slice(1), "true"], { stdio: "ignore" });
  } catch {
    skipTest(context, "no pid namespace can be made here");
  }
}

const childOf = (pid: number): number | undefined => {
  const child = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ")[0]);
  return child > 0 ? child : undefined;
};

/** The limit of silence is a tenth of the default. */
const yaml = `
dataDir: ./data
http: { listen: "127.0.0.1:0" }
worker: { renewMs: 500, renewTimeoutMs: 500, selfFenceAfterMs: 1500ms, deadAfterMs: 3s }
stop: { stopGraceMs: 300ms, killGraceMs: 200ms }
`;

test("wakeful run in another pid namespace that is stopped for longer than the limit of silence goes on with its command [F-9.5]", async (context) => {
  need(context);
  const { client, folder } = await startTestDaemon({ yaml });
  const script = "echo begun > begun; until [ -e go ]; do sleep 0.1; done; exit 7";
  const running = startWakeful(bundle.program, ["run", "--lease", "deploy", "--", "sh", "-c", script], {
    cwd: folder,
    under: ownNamespace,
  });
  await until(() => existsSync(join(folder, "begun")), { what: `the command to begin; ${running.err()}` });
  const pid = present(childOf(running.pid));
  process.kill(pid, "SIGSTOP");
  const heard = async () => {
    const { workers } = await client.call(api.listWorkers, {});
    return workers.find(({ kind }) => kind === "run");
  };
  await until(async () => Date.now() - ((await heard())?.lastHeardAt ?? Date.now()) > 4500, {
    what: "it to be silent for longer than the limit",
  });
  for (const name of ["worker-reaper", "job-reaper", "worker-reaper", "job-reaper"] as const)
    await client.call(api.runLoop, { params: { name }, body: {} });
  const run = async () => {
    const { jobs } = await client.call(api.listJobs, {});
    return present((await client.call(api.getJob, { params: { id: present(jobs[0]).id } })).runs[0]);
  };
  expect(await run()).toMatchObject({ state: "started" });
  process.kill(pid, "SIGCONT");
  writeFileSync(join(folder, "go"), "");
  expect(await running.ended).toBe(7);
  expect(await until(async () => ((await run()).state === "ended" ? await run() : undefined))).toMatchObject({
    outcome: "failed",
    exitCode: 7,
  });
});
