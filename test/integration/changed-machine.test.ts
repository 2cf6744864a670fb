import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, type TestContext, test } from "vitest";
import { api } from "../../src/protocol/api/index.ts";
import { untilItem } from "../support/daemon.ts";
import { readyDaemon } from "../support/ready-daemon.ts";
import { skipTest } from "../support/skips.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";
import { bundleWakeful, startWakeful, type WakefulProcess } from "../support/wakeful-program.ts";

let bundle: Awaited<ReturnType<typeof bundleWakeful>>;
beforeAll(async () => {
  bundle = await bundleWakeful();
});
afterAll(() => bundle.remove());

/** A program that executes another one on a machine whose id is `id`. */
function onMachine(context: TestContext, folder: string, id: string): readonly string[] {
  const file = join(folder, `machine-${id.slice(0, 4)}`);
  writeFileSync(file, `${id}\n`);
  const under = ["unshare", "-m", "sh", "-c", `mount --bind ${file} /etc/machine-id && exec "$@"`, "sh"];
  try {
    execFileSync(under[0] ?? "", [...under.slice(1), "true"], { stdio: "ignore" });
  } catch {
    skipTest(context, "nothing can be mounted over /etc/machine-id here");
  }
  return under;
}

const ledgerOf = (folder: string): readonly string[] =>
  existsSync(join(folder, "ledger")) ? readFileSync(join(folder, "ledger"), "utf8").trim().split("\n") : [];

async function kill(daemon: WakefulProcess): Promise<void> {
  daemon.child.kill("SIGKILL");
  await daemon.ended;
}

test("the machine's id changes between two starts: a living command is adopted, and not run beside itself [F-8.10]", async (context) => {
  await changeMachine(context, { endsMeanwhile: false });
});

test("the machine's id changes between two starts: an exit that was recorded meanwhile is taken [F-8.10]", async (context) => {
  await changeMachine(context, { endsMeanwhile: true });
});

async function changeMachine(context: TestContext, { endsMeanwhile }: { readonly endsMeanwhile: boolean }): Promise<void> {
  const folder = tempDir("machine");
  const script = `echo x >> ${folder}/ledger; until [ -e ${folder}/go ]; do sleep 0.1; done`;
  writeFileSync(
    join(folder, "wakeful.yaml"),
    `
dataDir: ./data
http: { listen: "127.0.0.1:0" }
pipelines:
  p: { stages: { work: { run: { command: [sh, -c, ${JSON.stringify(script)}] }, timeout: 1h, attempts: 1 } } }
`,
  );
  const first = startWakeful(bundle.program, ["up"], { cwd: folder, under: onMachine(context, folder, "1".repeat(32)) });
  const client = await readyDaemon(join(folder, "data"));
  const { item } = await client.call(api.submitItem, { params: { name: "p" }, body: { key: "k" } });
  await until(() => ledgerOf(folder).length === 1, { what: "the command to begin" });
  await kill(first);
  if (endsMeanwhile) {
    writeFileSync(join(folder, "go"), "");
    await until(() => existsSync(join(folder, "data", "runs", "1", "exit")), { what: "the exit to be recorded" });
  }
  startWakeful(bundle.program, ["up"], { cwd: folder, under: onMachine(context, folder, "2".repeat(32)) });
  const second = await readyDaemon(join(folder, "data"));
  writeFileSync(join(folder, "go"), "");
  await untilItem(second, item.id, "done");
  expect(ledgerOf(folder)).toEqual(["x"]);
}
