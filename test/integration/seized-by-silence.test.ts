import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { api } from "../../src/protocol/api/index.ts";
import { createDatabase } from "../support/postgres.ts";
import { readyDaemon } from "../support/ready-daemon.ts";
import { skipTest } from "../support/skips.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";
import { bundleWakeful, startWakeful } from "../support/wakeful-program.ts";

let bundle: Awaited<ReturnType<typeof bundleWakeful>>;
beforeAll(async () => {
  bundle = await bundleWakeful();
});
afterAll(() => bundle.remove());

/** Nobody outside can probe what runs in it, as on another machine. */
const ownNamespace = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"] as const;

const unlessGone = <T>(read: () => T): T | undefined => {
  try {
    return read();
  } catch {
    return undefined;
  }
};

/** Every process in the pid namespace that the children of `pid` are in, with its command line. */
function processesUnder(pid: number): readonly { readonly pid: number; readonly commandLine: string }[] {
  const namespace = readlinkSync(`/proc/${pid}/ns/pid_for_children`);
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name) || unlessGone(() => readlinkSync(`/proc/${name}/ns/pid`)) !== namespace) return [];
    return [{ pid: Number(name), commandLine: unlessGone(() => readFileSync(`/proc/${name}/cmdline`, "latin1")) ?? "" }];
  });
}

test("a host that stood still while another daemon ended its run stops the command when it goes on [F-9.6]", async (context) => {
  if (unlessGone(() => execFileSync(ownNamespace[0], [...ownNamespace.slice(1), "true"], { stdio: "ignore" })) === undefined)
    skipTest(context, "no pid namespace can be made here");
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const folder = tempDir("seized");
  const script = `echo x >> ${folder}/ledger; until [ -e ${folder}/go ]; do sleep 0.1; done`;
  const start = async (name: string, under: readonly string[]) => {
    const cwd = join(folder, name);
    mkdirSync(cwd);
    writeFileSync(
      join(cwd, "wakeful.yaml"),
      `
store: ${database.url}
dataDir: ./data
http: { listen: "127.0.0.1:0" }
worker: { renewMs: 500, renewTimeoutMs: 500, selfFenceAfterMs: 1500ms, deadAfterMs: 3s, fenceKillAfterMs: 2s, concurrency: 1 }
recovery: { pinnedHostLostMs: 3s }
stop: { stopGraceMs: 300ms, killGraceMs: 200ms }
log: { json: true, level: debug }
pipelines:
  p: { stages: { work: { run: { command: [sh, -c, ${JSON.stringify(script)}] }, timeout: 1h, attempts: 1 } } }
`,
    );
    const daemon = startWakeful(bundle.program, ["up"], { cwd, under });
    return { daemon, client: await readyDaemon(join(cwd, "data")) };
  };
  const a = await start("a", ownNamespace);
  await a.client.call(api.submitItem, { params: { name: "p" }, body: { key: "k" } });
  await until(() => existsSync(join(folder, "ledger")), { what: "the command to begin" });
  const b = await start("b", []);
  const stopped = processesUnder(a.daemon.pid);
  const signalAll = (signal: NodeJS.Signals): void => {
    for (const { pid } of stopped) unlessGone(() => process.kill(pid, signal));
  };
  signalAll("SIGSTOP");
  await until(() => b.daemon.out().includes("its fence has passed"), { what: "the other daemon to give the run up" });
  const ofCommand = () => processesUnder(a.daemon.pid).filter(({ commandLine }) => commandLine.includes(`${folder}/go`));
  expect(ofCommand().length).toBeGreaterThan(0);
  signalAll("SIGCONT");
  await until(() => ofCommand().length === 0, { what: "the command and its wrapper to end" });
  expect(a.daemon.child.exitCode, "the daemon goes on").toBeNull();
});
