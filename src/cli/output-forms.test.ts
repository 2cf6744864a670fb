import { expect, test } from "vitest";
import { apiDaemon } from "../../test/support/api-daemon.ts";
import { cli } from "../../test/support/cli-call.ts";
import { tempDir } from "../../test/support/temp-dir.ts";
import type { CliHost } from "./host.ts";

const instant = /\b2026-01-01 00:00:00Z/;

test("a listing tells spans, and instants when it is asked to", async () => {
  const daemon = await apiDaemon();
  await cli(["submit", "comics", "--key", "batman"], { daemon });
  for (const what of ["items", "jobs"]) {
    expect((await cli(["ls", what], { daemon })).out).not.toMatch(instant);
    expect((await cli(["ls", what, "--absolute"], { daemon })).out).toMatch(instant);
  }
  expect((await cli(["leases", "--absolute"], { daemon })).code).toBe(0);
  expect((await cli(["show", "item:1"], { daemon })).out).toMatch(/2026-01-01 00:00:00Z \(.*\)/);
  expect((await cli(["why", "item:1"], { daemon })).out).toMatch(/2026-01-01 00:00:00Z \(.*\)/);
});

test("why strips what commands a terminal unless --raw", async () => {
  const daemon = await apiDaemon();
  await cli(["submit", "comics", "--key", "batman", "--label", "\u001b[2Jgone"], { daemon });
  expect((await cli(["why", "item:1"], { daemon })).out).not.toContain("\u001b");
  expect((await cli(["why", "item:1", "--raw"], { daemon })).out).toContain("\u001b[2Jgone");
});

test("what prints no rows and no story obeys --json too, or refuses it", async () => {
  const { code, out } = await cli(["completion", "bash", "--json"]);
  expect([code, JSON.parse(out)]).toEqual([0, { shell: "bash", script: expect.stringContaining("complete -o default") }]);
  const refused = await cli(["run", "--json", "--", "true"], { cwd: tempDir("cli") });
  expect([refused.code, JSON.parse(refused.out)]).toMatchObject([2, { error: { code: "bad_request" } }]);
});

test("up --json prints the daemon's log as JSON as well, unless a flag says otherwise", async () => {
  const seen: boolean[] = [];
  const startDaemon: CliHost["startDaemon"] = async ({ config }) => {
    seen.push(config.log.json);
    throw new Error("far enough");
  };
  const cwd = tempDir("cli");
  for (const argv of [["up"], ["up", "--json"], ["up", "--log-json"]]) await cli(argv, { cwd, host: { startDaemon } });
  expect(seen).toEqual([false, true, true]);
});
