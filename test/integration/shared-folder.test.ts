import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { api } from "../../src/protocol/api/index.ts";
import { startTestDaemon } from "../support/daemon.ts";
import { createDatabase } from "../support/postgres.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";

test("two daemons that watch one folder make each file one item, and neither tells of a failure [F-8.14]", async () => {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const watched = tempDir("in");
  const yaml = `
store: ${JSON.stringify(database.url)}
pipelines:
  docs:
    intake: { watch: ${JSON.stringify(watched)}, match: ["*.pdf"], minStable: 0s }
    stages: { work: { run: { command: ["true"] }, timeout: 1h } }
`;
  const daemons = [await startTestDaemon({ yaml }), await startTestDaemon({ yaml })] as const;
  for (let at = 0; at < 60; at += 1) writeFileSync(join(watched, `${at}.pdf`), `%PDF ${at}`);
  await until(() => readdirSync(watched).filter((name) => name.endsWith(".pdf")).length === 0, { what: "all files to be taken" });
  const [{ client }] = daemons;
  const labels = await until(
    async () => {
      const { items } = await client.call(api.listItems, { query: { limit: 100 } });
      return items.length >= 60 ? items.map(({ label }) => label) : undefined;
    },
    { what: "all items to be there" },
  );
  expect(new Set(labels).size).toBe(60);
  for (const { log } of daemons) expect(log.filter((line) => line.includes("loop.subject_failed"))).toEqual([]);
});
