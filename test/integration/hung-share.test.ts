import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { api } from "../../src/protocol/api/index.ts";
import type { Client } from "../../src/protocol/client.ts";
import { startTestDaemon, submit as submitItem, untilItem } from "../support/daemon.ts";
import { hangAt } from "../support/hung-share.ts";
import { readyDaemon } from "../support/ready-daemon.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";
import { bundleWakeful, startWakeful, type WakefulProcess } from "../support/wakeful-program.ts";

let program: string;
let remove: () => void;
beforeAll(async () => {
  ({ program, remove } = await bundleWakeful());
});
afterAll(() => remove());

interface Up {
  readonly folder: string;
  readonly share: string;
  readonly daemon: WakefulProcess;
  readonly client: Client;
}

/** A folder with a share that answers, not started yet. */
function project(): { readonly folder: string; readonly share: string } {
  const folder = tempDir("hung-share");
  const share = join(folder, "share");
  mkdirSync(share);
  return { folder, share };
}

/** `wakeful up` in it. `pipelines`: YAML below `pipelines`, beside the pipeline `other`, which touches no share. */
async function up({ folder, share }: Pick<Up, "folder" | "share">, pipelines: string): Promise<Up> {
  const yaml = `http: { listen: 127.0.0.1:0 }
disk: { pathTimeoutMs: 2s }
worker: { concurrency: 4 }
intake: { pollMs: 200 }
pipelines:
  other: { stages: { work: { run: { command: ["true"] } } } }
${pipelines}
`;
  writeFileSync(join(folder, "wakeful.yaml"), yaml);
  const daemon = startWakeful(program, ["up"], { cwd: folder });
  const refused = daemon.ended.then((code): never => {
    throw new Error(`the daemon ended with ${code}: ${daemon.err()}`);
  });
  return { folder, share, daemon, client: await Promise.race([readyDaemon(join(folder, "data")), refused]) };
}

async function submit({ client }: Up, pipeline: string, key: string): Promise<number> {
  return (await client.call(api.submitItem, { params: { name: pipeline }, body: { key } })).item.id;
}

/** Other work goes on, the API answers. */
async function otherWorkGoesOn(world: Up, key: string): Promise<void> {
  await untilItem(world.client, await submit(world, "other", key), "done");
}

async function stop({ daemon }: Up): Promise<number | NodeJS.Signals> {
  daemon.child.kill("SIGTERM");
  return await daemon.ended;
}

const alertsOf = ({ folder }: Up): readonly { readonly cause: string; readonly title: string }[] =>
  readFileSync(join(folder, "data/alerts.jsonl"), "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as { readonly cause: string; readonly title: string });

const toldHung = (world: Up): Promise<unknown> =>
  until(() => alertsOf(world).some(({ cause, title }) => cause === `path_hung:${world.share}` && title.includes("does not answer")), {
    what: "the alert about the share",
  });

test("a secret on a hung share holds up its own stage alone [F-8.5]", async (context) => {
  const place = project();
  writeFileSync(join(place.share, "token"), "s3cret\n");
  const hung = hangAt(place.share, context);
  const world = await up(
    place,
    `  shared: { stages: { work: { run: { command: [sh, -c, 'echo "$TOKEN" > "$WAKEFUL_WORK_DIR/seen"'] }, env: { TOKEN: { file: share/token } }, attempts: 50, retry: { min: 0s, max: 1s } } } }`,
  );
  const items: number[] = [];
  for (let at = 0; at < 8; at += 1) items.push(await submit(world, "shared", `shared-${at}`));
  for (let at = 0; at < 8; at += 1) await otherWorkGoesOn(world, `other-${at}`);
  await toldHung(world);
  await otherWorkGoesOn(world, "after the alert");
  const { ready } = await world.client.call(api.readyz, {});
  expect(ready).toBe(true);
  hung.release();
  for (const id of items) await untilItem(world.client, id, "done");
  await until(() => alertsOf(world).at(-1)?.title.includes("answers again"), { what: "the end of the alert" });
  expect(await stop(world)).toBe(0);
});

test("a daemon stops in order while a secret's share hangs [F-8.5]", async (context) => {
  const place = project();
  hangAt(place.share, context);
  const world = await up(place, `  shared: { stages: { work: { run: { command: ["true"] }, env: { TOKEN: { file: share/token } } } } }`);
  for (let at = 0; at < 8; at += 1) await submit(world, "shared", `shared-${at}`);
  await otherWorkGoesOn(world, "other");
  expect(await stop(world)).toBe(0);
  expect(world.daemon.err()).not.toContain("does not return");
  expect(world.daemon.out()).toMatch(/daemon\.stopped.*late=\[\]/);
});

const folderOnShare = (name: string): string =>
  `  ${name}: { intake: { watch: share/in, archiveDir: archive, errorDir: error, match: ["*.txt"], minStable: 0s }, stages: { work: { run: { command: ["true"] } } } }`;
const folderHere =
  '  here: { intake: { watch: in, archiveDir: archive, errorDir: error, match: ["*.txt"], minStable: 0s }, stages: { work: { run: { command: ["true"] } } } }';

/** A file in a folder of this machine comes in and is done. */
async function filesComeIn(world: Up, name: string): Promise<void> {
  writeFileSync(join(world.folder, "in", name), name);
  await until(() => existsSync(join(world.folder, "archive", name)), { what: `${name} to be taken, worked on and archived` });
}

test("a helper that stands in a call ends when its daemon is killed, and the next daemon goes on [F-8.5]", async (context) => {
  const place = project();
  writeFileSync(join(place.share, "token"), "s3cret\n");
  const hung = hangAt(place.share, context);
  const shared = `  shared: { stages: { work: { run: { command: ["true"] }, env: { TOKEN: { file: share/token } } } } }`;
  const world = await up(place, shared);
  const item = await submit(world, "shared", "a");
  const helper = await until(() => helperOf(world.daemon.pid), { what: "a helper to be at work" });
  world.daemon.child.kill("SIGKILL");
  await world.daemon.ended;
  await until(() => !existsSync(`/proc/${helper}`), { what: "the helper to end" });
  const next = await up(place, shared);
  await otherWorkGoesOn(next, "other");
  hung.release();
  await untilItem(next.client, item, "done");
  expect(await stop(next)).toBe(0);
});

/** The path helper among a daemon's children. */
function helperOf(pid: number): number | undefined {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").map(Number);
  return children.find((child) => child > 0 && readFileSync(`/proc/${child}/cmdline`, "utf8").includes("path-helper"));
}

test("a watched folder on a share that hangs at the start holds up itself alone [F-8.5]", async (context) => {
  const place = project();
  mkdirSync(join(place.share, "in"));
  writeFileSync(join(place.share, "in/late.txt"), "late");
  mkdirSync(join(place.folder, "in"));
  const hung = hangAt(place.share, context);
  const world = await up(place, `${folderOnShare("there")}\n${folderHere}`);
  await filesComeIn(world, "1.txt");
  await toldHung(world);
  await filesComeIn(world, "2.txt");
  await otherWorkGoesOn(world, "other");
  const { ready, troubles } = await world.client.call(api.readyz, {});
  expect([ready, troubles.length]).toEqual([true, 1]);
  hung.release();
  await until(() => existsSync(join(world.folder, "archive/late.txt")), { what: "the file on the share to come in" });
  expect(await stop(world)).toBe(0);
});

test("a watched folder whose share hangs while the daemon runs holds up itself alone, three times in a row [F-8.5]", async (context) => {
  const place = project();
  mkdirSync(join(place.share, "in"));
  mkdirSync(join(place.folder, "in"));
  const world = await up(place, `${folderOnShare("there")}\n${folderHere}`);
  for (let at = 0; at < 3; at += 1) {
    const hung = hangAt(place.share, context);
    await filesComeIn(world, `here-${at}.txt`);
    await otherWorkGoesOn(world, `other-${at}`);
    hung.release();
    writeFileSync(join(place.share, `in/there-${at}.txt`), `there ${at}`);
    await until(() => existsSync(join(world.folder, `archive/there-${at}.txt`)), { what: "the file on the share to come in" });
  }
  hangAt(place.share, context);
  expect(await stop(world)).toBe(0);
});

test("an archive on a hung share keeps no other item from ending, and gets its file in the end [F-8.5]", async (context) => {
  const place = project();
  for (const dir of ["in", "in2"]) mkdirSync(join(place.folder, dir));
  const hung = hangAt(place.share, context);
  const world = await up(
    place,
    `  there: { intake: { watch: in2, archiveDir: share/archive, errorDir: error, match: ["*.txt"], minStable: 0s }, stages: { work: { run: { command: ["true"] } } } }\n${folderHere}`,
  );
  for (let at = 0; at < 9; at += 1) writeFileSync(join(place.folder, `in2/${at}.txt`), `there ${at}`);
  await toldHung(world);
  await filesComeIn(world, "here.txt");
  hung.release();
  for (let at = 0; at < 9; at += 1)
    await until(() => existsSync(join(place.share, `archive/${at}.txt`)), { what: "the archive to get its file" });
  expect(await stop(world)).toBe(0);
});

test("a working directory on a hung share, and a gate that looks into it by a link, hold up their own stages alone [F-8.5]", async (context) => {
  const place = project();
  writeFileSync(join(place.share, "result"), "result");
  mkdirSync(join(place.folder, "cwd"));
  const pipelines = `  cwd: { stages: { work: { run: { command: [sh, -c, 'pwd > "$WAKEFUL_WORK_DIR/pwd"; env | grep -c "PWD=" >> "$WAKEFUL_WORK_DIR/pwd" || true'] }, cwd: share, attempts: 1 } } }
  gate: { stages: { work: { run: { command: [sh, -c, 'ln -sfn "${place.share}" "$WAKEFUL_WORK_DIR/out"; while [ ! -e "${place.folder}/go" ]; do sleep 0.1; done'] }, gate: { file: out/result, anyAge: true }, attempts: 50 } } }
  check: { stages: { work: { run: { command: ["true"] }, gate: { command: [test, -e, "${place.share}/result"], timeout: 3s }, cwd: cwd, attempts: 50 } } }`;
  const world = await up(place, pipelines);
  const gated = await submit(world, "gate", "gated");
  await until(async () => (await world.client.call(api.getItem, { params: { id: gated } })).jobs.at(-1)?.state === "running", {
    what: "the command to be at work",
  });
  const hung = hangAt(place.share, context);
  writeFileSync(join(place.folder, "go"), "");
  const waiting = [await submit(world, "cwd", "a"), await submit(world, "cwd", "b"), await submit(world, "check", "c")];
  for (let at = 0; at < 4; at += 1) await otherWorkGoesOn(world, `other-${at}`);
  await toldHung(world);
  await otherWorkGoesOn(world, "after the alert");
  hung.release();
  for (const id of waiting) await untilItem(world.client, id, "done");
  const seen = await untilItem(world.client, waiting[0] ?? 0, "done");
  expect(readFileSync(join(place.folder, "data/work", seen.item.dir, "pwd"), "utf8")).toContain("/share");
  expect(await stop(world)).toBe(0);
});

test("disk.pathTimeoutMs is how long a share may give no sign", async (context) => {
  const { folder, share } = project();
  const hung = hangAt(share, context);
  const { client, log } = await startTestDaemon({
    folder,
    pathHelper: join(dirname(program), "path-helper.js"),
    yaml: `disk: { pathTimeoutMs: 1500 }
pipelines: { p: { stages: { work: { run: { command: ["true"] }, env: { TOKEN: { file: share/token } } } } } }
`,
  });
  await submitItem(client, "k");
  const told = await until(() => log.find((line) => line.includes("path.hung")), { what: "the share to count as hung" });
  expect(told).toContain("afterMs=1500");
  hung.release();
  await until(() => log.some((line) => line.includes("path.answered")), { what: "the share to answer again" });
});
