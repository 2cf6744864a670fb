import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { cli } from "../../../test/support/cli-call.ts";
import { tempDir } from "../../../test/support/temp-dir.ts";

test("a configuration with mistakes starts nothing and exits with 2, naming line and value", async () => {
  const cwd = tempDir("cli");
  writeFileSync(join(cwd, "wakeful.yaml"), "worker:\n  concurrencyy: 3\n");
  for (const argv of [["config", "check"], ["up"], ["config", "show"]]) {
    const { code, err } = await cli(argv, { cwd });
    expect([argv, code]).toEqual([argv, 2]);
    expect(err).toMatch(/wakeful\.yaml:2:3 worker\.concurrencyy.*did you mean "concurrency"/);
  }
  expect(JSON.parse((await cli(["config", "check", "--json"], { cwd })).out)).toMatchObject({ valid: false, mistakes: [{ line: 2 }] });
});

test("a program that is not in PATH is a warning, as a command and in a gate [F-2.6]", async () => {
  const cwd = tempDir("cli");
  const gate = "{ all: [{ file: a }, { not: { command: [no-such-check] } }] }";
  writeFileSync(
    join(cwd, "wakeful.yaml"),
    `pipelines:\n  p:\n    stages:\n      s: { run: { command: [no-such-program] }, timeout: 1m, gate: ${gate}, next: t }\n      t: { run: { command: [sh, -c, x] }, timeout: 1m }\n`,
  );
  const { code, err } = await cli(["config", "check"], { cwd });
  expect(code).toBe(0);
  expect(err.match(/warning: .*/g)).toEqual([
    expect.stringMatching(/p\.stages\.s\.run: no-such-program is not in PATH/),
    expect.stringMatching(/p\.stages\.s\.gate: no-such-check is not in PATH/),
  ]);
});
