import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { cli } from "../../test/support/cli-call.ts";
import { tempDir } from "../../test/support/temp-dir.ts";

test("without a daemon lists are read from the store's file, and standard error says so; writes are refused", async () => {
  const cwd = tempDir("cli");
  writeFileSync(join(cwd, "wakeful.yaml"), "http: { listen: 127.0.0.1:0 }\n");
  expect(await cli(["ls", "jobs"], { cwd })).toMatchObject({ code: 7, err: expect.stringContaining("nothing has been started here yet") });
  expect((await cli(["migrate"], { cwd })).code).toBe(0);
  expect(existsSync(join(cwd, "data/wakeful.db"))).toBe(true);
  const { code, out, err } = await cli(["ls", "jobs", "--json"], { cwd });
  expect([code, JSON.parse(out), err]).toEqual([0, { jobs: [] }, expect.stringMatching(/^No daemon answers .* directly/)]);
  expect((await cli(["why", "job:1"], { cwd })).code).toBe(4);
  expect((await cli(["cancel", "job:1"], { cwd })).code).toBe(7);
});

test("what only a running daemon has is refused without one, and the store's file stays as it was", async () => {
  const cwd = tempDir("cli");
  writeFileSync(join(cwd, "wakeful.yaml"), "http: { listen: 127.0.0.1:0 }\n");
  await cli(["migrate"], { cwd });
  const before = readFileSync(join(cwd, "data/wakeful.db"));
  for (const argv of [["reap"], ["settings", "reaper.deadTicks=3"], ["pause", "--all"], ["submit", "p"]])
    expect([argv, (await cli(argv, { cwd })).code]).toEqual([argv, 7]);
  expect((await cli(["ls", "loops"], { cwd })).code).toBe(0);
  expect(readFileSync(join(cwd, "data/wakeful.db")).equals(before)).toBe(true);
});
