import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { cli } from "../../../test/support/cli-call.ts";
import { tempDir } from "../../../test/support/temp-dir.ts";

test("flags stand above variables, and variables above the file", async () => {
  const cwd = tempDir("cli");
  writeFileSync(join(cwd, "wakeful.yaml"), "http: { listen: 127.0.0.1:1001 }\nworker: { concurrency: 11 }\nlog: { level: warn }\n");
  const env = { WAKEFUL_WORKER_CONCURRENCY: "12", WAKEFUL_LOG_LEVEL: "debug" };
  const shown = async (...argv: string[]) => JSON.parse((await cli(["config", "show", "--json", ...argv], { cwd, env })).out);
  expect(await shown()).toMatchObject({
    http: { listen: { port: 1001 } },
    worker: { concurrency: 12 },
    log: { level: "debug" },
    dataDir: join(cwd, "data"),
  });
  expect(await shown("--data-dir", "elsewhere")).toMatchObject({ dataDir: join(cwd, "elsewhere") });
});

test("passwords and values of a stage's environment are masked, in both forms", async () => {
  const cwd = tempDir("cli");
  writeFileSync(
    join(cwd, "wakeful.yaml"),
    "store: postgres://me:secret@db/wakeful\npipelines: { p: { stages: { s: { run: { command: [x] }, timeout: 1h, env: { KEY: secret } } } } }\n",
  );
  for (const flags of [[], ["--json"]]) {
    const { code, out } = await cli(["config", "show", ...flags], { cwd });
    expect([code, out]).toEqual([0, expect.stringContaining("KEY")]);
    expect(out).toContain("me:***@db");
    expect(out).not.toContain("secret");
  }
});
