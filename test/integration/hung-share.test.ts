import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
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
