import { existsSync, readFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { api } from "../../src/protocol/api/index.ts";
import { startTestDaemon, type TestDaemon } from "../support/daemon.ts";
import { createDatabase } from "../support/postgres.ts";
import { present } from "../support/present.ts";
import { until } from "../support/until.ts";

/** The second stage reads what the first one has written, and fails where that is not. */
const twoStages = (store: string, more = ""): string => `
store: ${JSON.stringify(store)}
dataDir: ./data
worker: { concurrency: 2 }
${more}
pipelines:
  docs:
    stages:
      write: { run: { command: [sh, -c, 'echo "$WAKEFUL_ITEM_KEY" > "$WAKEFUL_WORK_DIR/written"'] }, timeout: 1h, next: read, attempts: 1 }
      read: { run: { command: [sh, -c, 'cat "$WAKEFUL_WORK_DIR/written" > "$WAKEFUL_WORK_DIR/read"'] }, timeout: 1h, attempts: 1 }
`;

const count = 12;

test("of two daemons with one pipeline each runs all stages of the items whose files it has [F-7.1]", async () => {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const yaml = twoStages(database.url);
  const first = await startTestDaemon({ yaml });
  const second = await startTestDaemon({ yaml });
  expect(second.log.filter((line) => line.includes("daemon.beside") && line.includes(first.dataDir))).toHaveLength(1);
  const submitted = await Promise.all(
    [first, second].flatMap((daemon) =>
      Array.from({ length: count }, async (_, n) => {
        const key = `${daemon === first ? "first" : "second"}-${n}`;
        const { item } = await daemon.client.call(api.submitItem, { params: { name: "docs" }, body: { key } });
        return { daemon, key, id: item.id };
      }),
    ),
  );
  const stateOf = async ({ client }: TestDaemon, id: number): Promise<string> =>
    (await client.call(api.getItem, { params: { id } })).item.state;
  await until(
    async () => (await Promise.all(submitted.map(async ({ id }) => await stateOf(first, id)))).every((state) => state !== "active"),
    {
      what: "all items to end",
    },
  );
  for (const { daemon, key, id } of submitted) {
    expect(await stateOf(first, id), key).toBe("done");
    expect(readFileSync(join(daemon.dataDir, "work", key, "read"), "utf8")).toBe(`${key}\n`);
    const other = daemon === first ? second : first;
    expect(existsSync(join(other.dataDir, "work", key)), `${key} elsewhere`).toBe(false);
  }
});

test("an item whose daemon is gone is moved to where its files are, once nothing of it waits for a living one, and `why` says who has it [F-7.1]", async () => {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const yaml = twoStages(database.url);
  const [first, second] = [await startTestDaemon({ yaml }), await startTestDaemon({ yaml })];
  await first.client.call(api.pause, { body: { target: { kind: "all" } } });
  const { item } = await first.client.call(api.submitItem, { params: { name: "docs" }, body: { key: "book" } });
  const move = async (host: string) => await second.client.call(api.moveItem, { params: { id: item.id }, body: { host } });
  const placeOf = ({ dataDir }: TestDaemon): string => `${hostname()}:${dataDir}`;
  await expect(move(placeOf(second))).rejects.toMatchObject({ code: "conflict", message: expect.stringContaining(placeOf(first)) });
  await expect(move("nowhere:/")).rejects.toMatchObject({ code: "not_found", message: expect.stringContaining(placeOf(second)) });
  const { jobs } = await first.client.call(api.getItem, { params: { id: item.id } });
  const story = await second.client.call(api.why, { query: { job: present(jobs[0]).id } });
  expect(JSON.stringify(story)).toContain(`Its files are with the daemon of ${placeOf(first)}, which alone claims it`);
  await first.stop();
  expect(await move(placeOf(second))).toMatchObject({ place: placeOf(second) });
  await second.client.call(api.resume, { body: { target: { kind: "all" } } });
  await until(async () => (await second.client.call(api.getItem, { params: { id: item.id } })).item.state === "done", {
    what: "the item to be done",
  });
  expect(readFileSync(join(second.dataDir, "work", "book", "read"), "utf8")).toBe("book\n");
});
