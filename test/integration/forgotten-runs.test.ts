import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { api } from "../../src/protocol/api/index.ts";
import type { Client } from "../../src/protocol/client.ts";
import { startTestDaemon, submit, untilItem } from "../support/daemon.ts";
import { bundleHandlerHost } from "../support/handler-host.ts";
import { createDatabase, queryOnce } from "../support/postgres.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";
import { writtenPid } from "../support/written-pid.ts";

const stages = `
dataDir: ./data
worker:
  handlers: ./handlers.mjs
  renewMs: 100ms
  renewTimeoutMs: 300ms
  selfFenceAfterMs: 300ms
reaper: { startWithinMs: 1s }
stop: { stopGraceMs: 100, killGraceMs: 100 }
pipelines:
  p:
    stages:
      work: { run: { handler: work }, retry: { min: 0s, max: 0s }, attempts: 1, maxLosses: 5 }
`;

const handlers = `
import { existsSync, writeFileSync } from "node:fs";
export async function work(job) {
  writeFileSync("started-" + job.itemKey + "-" + job.attempt, String(process.pid));
  if (job.itemKey === "busy") { const end = Date.now() + 4000; while (Date.now() < end); }
  while (existsSync("wait-" + job.attempt)) await new Promise((resolve) => setTimeout(resolve, 20));
  return job.attempt;
}
`;

let program: string;
let remove: () => void;
beforeAll(async () => {
  ({ program, remove } = await bundleHandlerHost());
});
afterAll(() => remove());

async function daemonOnPostgres(...waits: readonly string[]) {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const folder = tempDir("forgotten-runs");
  await writeFile(join(folder, "handlers.mjs"), handlers);
  for (const wait of waits) await writeFile(join(folder, wait), "");
  const yaml = `store: ${JSON.stringify(database.url)}${stages}`;
  return { ...(await startTestDaemon({ yaml, folder, handlerHost: program })), folder, url: database.url };
}

const runsOf = async (client: Client, id: number) => (await client.call(api.getItem, { params: { id } })).runs;
const untilStarted = async (client: Client, id: number): Promise<unknown> =>
  await until(async () => (await runsOf(client, id))[0]?.state === "started", { what: "its start to be written" });

/** What happens to work; sessions and settings stay. */
const ofWork = ["jobs", "ready", "live", "runs", "items", "visits", "action_logs", "outbox"];

test("settlements that a failover forgets are noticed: their runs end as forgotten, and the work is done again [F-9.4]", async () => {
  const { client, url, folder } = await daemonOnPostgres("wait-1");
  const id = await submit(client, "one");
  await untilStarted(client, id);
  await queryOnce(url, ofWork.map((table) => `create table wakeful.tail_${table} as table wakeful.${table};`).join("\n"));
  await rm(join(folder, "wait-1"));
  await untilItem(client, id, "done");
  // The server that takes over has not heard of anything since the copy.
  await queryOnce(
    url,
    `begin; set local session_replication_role = replica;
     ${ofWork.map((table) => `delete from wakeful.${table}; insert into wakeful.${table} select * from wakeful.tail_${table};`).join("\n")}
     commit;`,
  );
  expect(await runsOf(client, id)).toMatchObject([{ state: "started" }]);
  const { runs, visits } = await untilItem(client, id, "done");
  expect(runs.toSorted((a, b) => a.attempt - b.attempt)).toMatchObject([
    { attempt: 1, outcome: "lost", reason: "not_named" },
    { attempt: 2, outcome: "succeeded" },
  ]);
  expect(visits[0]).toMatchObject({ attempts: 1, losses: 1 });
  const { text } = await client.call(api.why, { query: { item: id } });
  expect(text).toContain("without naming it");
});

/** Refuses every end of the item's first run: with class 22 for its content, else for a cause that may pass. */
const refuseEnds = async (url: string, sqlState: string): Promise<() => Promise<void>> => {
  await queryOnce(
    url,
    `create function wakeful.trouble() returns trigger language plpgsql as $$ begin
       if old.attempt = 1 then raise exception 'this end is not taken' using errcode = '${sqlState}'; end if; return old; end $$;
     create trigger trouble before delete on wakeful.live for each row execute function wakeful.trouble();`,
  );
  return async () => await queryOnce(url, "drop function wakeful.trouble() cascade");
};

test("a run whose end was refused for good is named no more, and ends as forgotten [F-9.4]", async () => {
  const { client, url, folder, log } = await daemonOnPostgres("wait-1");
  const id = await submit(client, "one");
  await untilStarted(client, id);
  const mend = await refuseEnds(url, "22000");
  await rm(join(folder, "wait-1"));
  await until(() => log.some((line) => line.includes("defect.found") && line.includes("end-buffer")), { what: "the end to be given up" });
  await mend();
  const { runs } = await untilItem(client, id, "done");
  expect(runs.find(({ attempt }) => attempt === 1)).toMatchObject({ outcome: "lost", reason: "not_named" });
});

test("a run whose end is still on its way is named, and so is that of a handler that blocks its host: neither ends [F-9.4]", async () => {
  const { client, url, folder, log } = await daemonOnPostgres("wait-1");
  const id = await submit(client, "one");
  await untilStarted(client, id);
  const mend = await refuseEnds(url, "P0001");
  await rm(join(folder, "wait-1"));
  await until(() => log.some((line) => line.includes("this end is not taken")), { what: "the end to be refused" });
  const busy = await submit(client, "busy");
  await writtenPid(join(folder, "started-busy-1"));
  // Its host is blocked for four times the limit, and the refused end is repeated for longer than the limit.
  await until(() => log.some((line) => line.includes("end_set_aside")), { what: "the end to be refused for long" });
  await mend();
  expect((await untilItem(client, busy, "done")).runs).toMatchObject([{ attempt: 1, outcome: "succeeded" }]);
  expect((await untilItem(client, id, "done")).runs).toMatchObject([{ attempt: 1, outcome: "succeeded" }]);
});
