import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { api } from "../../src/protocol/api/index.ts";
import type { Client } from "../../src/protocol/client.ts";
import { untilItem } from "../support/daemon.ts";
import { readyDaemon } from "../support/ready-daemon.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";
import { bundleWakeful } from "../support/wakeful-program.ts";

let program: string;
let remove: () => void;
beforeAll(async () => {
  ({ program, remove } = await bundleWakeful());
});
afterAll(() => remove());

interface Served {
  readonly folder: string;
  readonly child: ChildProcess;
  readonly client: Client;
}

/** `wakeful up` whose output goes where the test says. */
async function serve(
  argv: (program: readonly string[]) => readonly string[],
  stdio: readonly ("pipe" | number)[],
  files: Readonly<Record<string, string>> = {},
  more = "",
): Promise<Served> {
  const folder = tempDir("unread");
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  const yaml = `http: { listen: 127.0.0.1:0 }
log: { level: debug }
pipelines:
  p: { stages: { work: { run: { command: [sh, -c, "echo $$ > pid; while [ -e pid ]; do sleep 0.2; done"] }, timeout: 2h } } }
${more}
`;
  writeFileSync(join(folder, "wakeful.yaml"), yaml);
  const [file = "", ...args] = argv([process.execPath, program, "up"]);
  const env = { PATH: process.env["PATH"], HOME: folder };
  const child = spawn(file, args, { cwd: folder, env, stdio: ["ignore", ...stdio] });
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  });
  const client = await readyDaemon(join(folder, "data"));
  return { folder, child, client };
}

/** Far more lines than any pipe or terminal holds. */
async function sayMuch(client: Client): Promise<void> {
  for (let at = 0; at < 600; at += 1) await client.call(api.runLoop, { params: { name: "scheduler" }, body: {} });
}

async function startCommand({ client, folder }: Served): Promise<number> {
  await client.call(api.submitItem, { params: { name: "p" }, body: { key: "k" } });
  return await until(() => Number(readFileSync(join(folder, "pid"), "utf8").trim()), { what: "the command to be at work" });
}

async function endOf(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  const ended = once(child, "exit");
  child.kill(signal);
  const [code] = (await ended) as [number | null];
  return code;
}

const asItIs = (argv: readonly string[]): readonly string[] => argv;

test("a pipe that nobody reads holds up neither work nor stop [F-8.6]", async () => {
  const served = await serve(asItIs, ["pipe", "pipe"]);
  await sayMuch(served.client);
  await startCommand(served);
  expect(await endOf(served.child, "SIGTERM")).toBe(0);
});

test("a terminal that is held holds up neither work nor stop [F-8.6]", async () => {
  // `script` gives it a terminal, and stops reading that when nobody reads its own output.
  const served = await serve((argv) => ["script", "-qfec", argv.join(" "), "/dev/null"], ["pipe", "pipe"]);
  await sayMuch(served.client);
  await startCommand(served);
  const { pid } = await served.client.call(api.getDaemon, {});
  process.kill(pid, "SIGTERM");
  await until(() => !isAlive(pid), { what: "the daemon to end" });
});

test("handlers that print much are not held up either [F-8.6]", async () => {
  const module = `const line = "x".repeat(1000) + "\\n";
export async function print() { for (let at = 0; at < 5000; at += 1) process.stdout.write(line); }
`;
  const more = "  q: { stages: { work: { run: { handler: print } } } }\nworker: { handlers: ./handlers.mjs }";
  const served = await serve(asItIs, ["pipe", "pipe"], { "handlers.mjs": module }, more);
  const { item } = await served.client.call(api.submitItem, { params: { name: "q" }, body: { key: "k" } });
  await untilItem(served.client, item.id, "done");
  expect(await endOf(served.child, "SIGTERM")).toBe(0);
});

test("a disk that is full loses lines and nothing else [F-8.6]", async () => {
  const full = openSync("/dev/full", "w");
  const served = await serve(asItIs, [full, full]);
  await sayMuch(served.client);
  await startCommand(served);
  expect(await endOf(served.child, "SIGTERM")).toBe(0);
});

test("readers that are gone change nothing: INT still stops the daemon in order, and its commands [F-8.6]", async () => {
  const served = await serve(asItIs, ["pipe", "pipe"]);
  served.child.stdout?.destroy();
  served.child.stderr?.destroy();
  await sayMuch(served.client);
  const command = await startCommand(served);
  expect(await endOf(served.child, "SIGINT")).toBe(0);
  expect(isAlive(command)).toBe(false);
});

test("the last lines reach a file before the daemon ends", async () => {
  const path = join(tempDir("log"), "log");
  const file = openSync(path, "w");
  const served = await serve(asItIs, [file, file]);
  expect(await endOf(served.child, "SIGTERM")).toBe(0);
  expect(readFileSync(path, "utf8")).toMatch(/daemon\.stopped/);
});

test("an answer longer than a pipe holds arrives whole, however late it is read", async () => {
  const served = await serve(asItIs, ["pipe", "pipe"]);
  const submit = (_: unknown, at: number) =>
    served.client.call(api.submitItem, { params: { name: "p" }, body: { key: `k${at}`, label: "l".repeat(400) } });
  await Promise.all(Array.from({ length: 500 }, submit));
  const argv = [program, "ls", "--json", "--limit", "500"];
  const asked = spawn(process.execPath, argv, {
    cwd: served.folder,
    env: { PATH: process.env["PATH"] },
    stdio: ["ignore", "pipe", "inherit"],
  });
  // From here on it would end, if it did not wait for its reader.
  await once(asked.stdout, "readable");
  let text = "";
  asked.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
  await once(asked, "close");
  expect(text.length).toBeGreaterThan(250_000);
  expect((JSON.parse(text) as { items: unknown[] }).items.length).toBe(500);
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
