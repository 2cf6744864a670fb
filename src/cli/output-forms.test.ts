import { expect, test } from "vitest";
import { apiDaemon } from "../../test/support/api-daemon.ts";
import { cli } from "../../test/support/cli-call.ts";
import { tempDir } from "../../test/support/temp-dir.ts";

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

test("what prints no rows and no story obeys --json too, or refuses it", async () => {
  const { code, out } = await cli(["completion", "bash", "--json"]);
  expect([code, JSON.parse(out)]).toEqual([0, { shell: "bash", script: expect.stringContaining("complete -o default") }]);
  const refused = await cli(["run", "--json", "--", "true"], { cwd: tempDir("cli") });
  expect([refused.code, JSON.parse(refused.out)]).toMatchObject([2, { error: { code: "bad_request" } }]);
});
