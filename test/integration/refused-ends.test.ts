import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { api } from "../../src/protocol/api/index.ts";
import { startTestDaemon, submit, untilItem } from "../support/daemon.ts";
import { bundleHandlerHost } from "../support/handler-host.ts";
import { createDatabase, queryOnce } from "../support/postgres.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";

let program: string;
let remove: () => void;
beforeAll(async () => {
  ({ program, remove } = await bundleHandlerHost());
});
afterAll(() => remove());

const handlers = `
export async function work({ itemKey: key }) {
  if (key.startsWith("nul")) throw new Error("a\\u0000b");
  if (key.startsWith("half")) throw new Error("x".repeat(8191) + "\\u{1f600} more");
  if (key.startsWith("thrown")) throw new Error("thrown");
  return "done";
}
`;

const stages = `
dataDir: ./data
worker: { handlers: ./handlers.mjs, concurrency: 2, outstandingMax: 6 }
stop: { stopGraceMs: 1000, killGraceMs: 1000 }
pipelines:
  p:
    stages:
      work: { run: { handler: work }, attempts: 1 }
  gated:
    stages:
      work:
        run: { command: ["true"] }
        timeout: 1h
        attempts: 1
        gate: { command: [sh, -c, "printf 'bad \\\\000'; exit 3"] }
`;

async function folderWithHandlers(): Promise<string> {
  const folder = tempDir("refused-ends");
  await writeFile(join(folder, "handlers.mjs"), handlers);
  return folder;
}

async function postgresUrl(): Promise<string> {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  return database.url;
}

const many = (count: number, name: string): readonly string[] => Array.from({ length: count }, (_, at) => `${name}-${at}`);

describe.each([
  ["sqlite", async () => "./data/wakeful.db"],
  ["postgres", postgresUrl],
])("%s", (_engine, storeUrl) => {
  test("ends whose words no store keeps are settled at once, claims go on, and the daemon stops [F-8.1]", async () => {
    const folder = await folderWithHandlers();
    const yaml = `store: ${JSON.stringify(await storeUrl())}${stages}`;
    const { client, stop } = await startTestDaemon({ yaml, folder, handlerHost: program });
    const { item: gated } = await client.call(api.submitItem, { params: { name: "gated" }, body: { key: "gate" } });
    const hostile = await Promise.all([...many(6, "nul"), ...many(6, "half")].map((key) => submit(client, key)));
    const good = await submit(client, "good");
    await untilItem(client, good, "done");
    const ended = await Promise.all(hostile.map((id) => untilItem(client, id, "failed")));
    const errors = await Promise.all(
      ended.map(async ({ runs }) => (await client.call(api.why, { query: { run: runs[0]?.id ?? 0 } })).text),
    );
    expect(errors[0]).toContain("a\ufffdb");
    expect(errors[6]).toContain("xxx... (");
    const { runs } = await untilItem(client, gated.id, "failed");
    expect(runs).toMatchObject([{ outcome: "gate_red" }]);
    await stop("leave");
  });
});

const trouble = async (url: string, key: string): Promise<() => Promise<void>> => {
  await queryOnce(
    url,
    `create function wakeful.trouble() returns trigger language plpgsql as $$ begin
       if exists (select 1 from wakeful.jobs j join wakeful.items i on i.id = j.item_id where j.id = old.job_id and i.key like '${key}%')
       then raise exception 'this end is not taken'; end if; return old; end $$;
     create trigger trouble before delete on wakeful.live for each row execute function wakeful.trouble();`,
  );
  return async () => await queryOnce(url, "drop function wakeful.trouble() cascade");
};

test("ends that the server refuses for another cause leave their places to other work, stay named, and are written once it takes them [F-8.1]", async () => {
  const url = await postgresUrl();
  const folder = await folderWithHandlers();
  const { client, log } = await startTestDaemon({ yaml: `store: ${JSON.stringify(url)}${stages}`, folder, handlerHost: program });
  const mend = await trouble(url, "thrown");
  const refused = await Promise.all(many(6, "thrown").map((key) => submit(client, key)));
  await until(() => log.filter((line) => line.includes("this end is not taken")).length > 0, { what: "the first refusal" });
  const good = await Promise.all(many(8, "good").map((key) => submit(client, key)));
  for (const id of good) await untilItem(client, id, "done");
  for (const id of refused) expect((await client.call(api.getItem, { params: { id } })).runs).toMatchObject([{ state: "started" }]);
  await mend();
  for (const id of refused) expect((await untilItem(client, id, "failed")).runs).toMatchObject([{ attempt: 1, outcome: "failed" }]);
});

test("a daemon stops with ends that its store refuses, says so, and the next start recovers their runs [F-8.1]", async () => {
  const url = await postgresUrl();
  const folder = await folderWithHandlers();
  const yaml = `store: ${JSON.stringify(url)}${stages}`;
  const first = await startTestDaemon({ yaml, folder, handlerHost: program });
  const mend = await trouble(url, "thrown");
  const ids = await Promise.all(many(2, "thrown").map((key) => submit(first.client, key)));
  await until(() => first.log.some((line) => line.includes("this end is not taken")), { what: "the refusal" });
  await first.stop("leave");
  expect(first.log.some((line) => line.includes("could not be written before the stop"))).toBe(true);
  await mend();
  const { client } = await startTestDaemon({ yaml, folder, handlerHost: program });
  for (const id of ids) await untilItem(client, id, "failed");
});
