import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { api } from "../../src/protocol/api/index.ts";
import type { Client } from "../../src/protocol/client.ts";
import { createDatabase } from "../support/postgres.ts";
import { readyDaemon } from "../support/ready-daemon.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";
import { bundleWakeful, startWakeful, type WakefulProcess } from "../support/wakeful-program.ts";

let bundle: Awaited<ReturnType<typeof bundleWakeful>>;
beforeAll(async () => {
  bundle = await bundleWakeful();
});
afterAll(() => bundle.remove());

interface Started {
  readonly daemon: WakefulProcess;
  readonly client: Client;
}

/** Two installations on one machine and one PostgreSQL. Their limits of silence are a tenth of the defaults. */
async function twoInstallations(stage: string) {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const folder = tempDir("two-daemons");
  const start = async (name: "a" | "b"): Promise<Started> => {
    const cwd = join(folder, name);
    mkdirSync(cwd, { recursive: true });
    writeFileSync(
      join(cwd, "wakeful.yaml"),
      `
store: ${database.url}
dataDir: ./data
http: { listen: "127.0.0.1:0" }
worker: { renewMs: 500, renewTimeoutMs: 500, selfFenceAfterMs: 1500ms, deadAfterMs: 3s, concurrency: ${name === "a" ? 4 : 1} }
stop: { stopGraceMs: 300ms, killGraceMs: 200ms }
log: { json: true, level: debug }
pipelines:
  p:
    stages:
      work: { ${stage}, timeout: 1h, attempts: 1 }
`,
    );
    const daemon = startWakeful(bundle.program, ["up"], { cwd });
    return { daemon, client: await readyDaemon(join(cwd, "data")) };
  };
  return { folder, start };
}

/** Where the commands of a test note that they begin, and wait to be told to go on. */
function marks() {
  const folder = tempDir("marks");
  const path = join(folder, "ledger");
  return {
    folder,
    ledger: (): readonly string[] => (existsSync(path) ? readFileSync(path, "utf8").trim().split("\n") : []),
    go: () => writeFileSync(join(folder, "go"), ""),
  };
}

const noting = (folder: string): string =>
  `run: { command: [sh, -c, "echo $WAKEFUL_ITEM_KEY >> ${folder}/ledger; until [ -e ${folder}/go ]; do sleep 0.1; done"] }`;

async function kill({ daemon }: Started): Promise<void> {
  daemon.child.kill("SIGKILL");
  await daemon.ended;
}

async function submit(client: Client, key: string): Promise<number> {
  return (await client.call(api.submitItem, { params: { name: "p" }, body: { key } })).item.id;
}

const stateOf = async (client: Client, id: number): Promise<string> => (await client.call(api.getItem, { params: { id } })).item.state;

/** So many looks of the other daemon's job-reaper at everything, after it has given up the session. */
async function judgeAgainAndAgain(client: Client): Promise<void> {
  for (let look = 0; look < 5; look++) await client.call(api.runLoop, { params: { name: "job-reaper" }, body: {} });
}

test("a killed daemon's command is left alone by another on the machine, and its return adopts it: run once [F-7.2]", async () => {
  const { folder, ledger, go } = marks();
  const world = await twoInstallations(noting(folder));
  const a = await world.start("a");
  const id = await submit(a.client, "k");
  await until(() => ledger().length === 1, { what: "the command to begin" });
  await kill(a);
  const b = await world.start("b");
  await until(() => b.daemon.out().includes('"worker.dead"'), { what: "the other daemon to give up the session" });
  await judgeAgainAndAgain(b.client);
  const again = await world.start("a");
  go();
  await until(async () => (await stateOf(again.client, id)) === "done", { what: "the item to be done" });
  expect(ledger()).toEqual(["k"]);
});

test("an exit that was recorded while its daemon was dead is taken by its return, and not repeated elsewhere [F-7.2]", async () => {
  const { folder, ledger, go } = marks();
  const world = await twoInstallations(noting(folder));
  const a = await world.start("a");
  const id = await submit(a.client, "k");
  await until(() => ledger().length === 1, { what: "the command to begin" });
  const { jobs } = await a.client.call(api.getItem, { params: { id } });
  const runs = (await a.client.call(api.getJob, { params: { id: jobs[0]?.id ?? 0 } })).runs;
  await kill(a);
  go();
  const exit = join(world.folder, "a", "data", "runs", String(runs[0]?.id), "exit");
  await until(() => existsSync(exit), { what: "the wrapper to record the exit" });
  const b = await world.start("b");
  await until(() => b.daemon.out().includes('"worker.dead"'), { what: "the other daemon to give up the session" });
  await judgeAgainAndAgain(b.client);
  expect(await stateOf(b.client, id)).toBe("active");
  const again = await world.start("a");
  await until(async () => (await stateOf(again.client, id)) === "done", { what: "the item to be done" });
  expect(ledger()).toEqual(["k"]);
});

test("a gate is read on the host that has the files, however long its daemon is away [F-9.10]", async () => {
  const { folder, ledger, go } = marks();
  const gate = `gate: { all: [{ file: result }, { command: [sh, -c, "[ -e ${folder}/go ] || exit 100"] }], patience: 1h, timeout: 5s }`;
  const world = await twoInstallations(
    `run: { command: [sh, -c, "echo x >> ${folder}/ledger; echo good > $WAKEFUL_WORK_DIR/result"] }, ${gate}`,
  );
  const a = await world.start("a");
  const id = await submit(a.client, "k");
  await until(() => a.daemon.out().includes('"run.deferred"'), { what: "the gate to be unreadable" });
  await kill(a);
  go();
  const b = await world.start("b");
  await until(() => b.daemon.out().includes('"worker.dead"'), { what: "the other daemon to give up the session" });
  await judgeAgainAndAgain(b.client);
  expect(await stateOf(b.client, id)).toBe("active");
  const again = await world.start("a");
  await until(async () => (await stateOf(again.client, id)) === "done", { what: "the item to be done" });
  expect(ledger()).toEqual(["x"]);
});

test("a daemon that was away for longer than the limit of silence goes on with its command [F-9.10]", async () => {
  const { folder, ledger, go } = marks();
  const world = await twoInstallations(noting(folder));
  const a = await world.start("a");
  const id = await submit(a.client, "k");
  await until(() => ledger().length === 1, { what: "the command to begin" });
  const b = await world.start("b");
  expect(b.daemon.out(), "a daemon that starts beside another says so").toContain("daemon.beside");
  a.daemon.child.kill("SIGSTOP");
  await until(() => b.daemon.out().includes('"worker.hung"'), { what: "the other daemon to hear nothing" });
  await judgeAgainAndAgain(b.client);
  a.daemon.child.kill("SIGCONT");
  go();
  await until(async () => (await stateOf(a.client, id)) === "done", { what: "the item to be done" });
  expect(ledger()).toEqual(["k"]);
});
