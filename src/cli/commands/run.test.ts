import { expect, test } from "vitest";
import { cli } from "../../../test/support/cli-call.ts";
import { tempDir } from "../../../test/support/temp-dir.ts";
import type { RunCommandRequest } from "../host.ts";

test("everything after -- belongs to the command that is run", async () => {
  const seen: RunCommandRequest[] = [];
  const runCommand = async (request: RunCommandRequest) => {
    seen.push(request);
    return 7;
  };
  const cwd = tempDir("cli");
  expect(
    (await cli(["run", "--lease", "main", "--ttl", "90s", "--", "make", "--json", "-f", "x"], { cwd, host: { runCommand } })).code,
  ).toBe(7);
  expect((await cli(["run", "make", "--lease", "theirs"], { cwd, host: { runCommand } })).code).toBe(7);
  expect(seen.map(({ argv, lease }) => [argv, lease])).toEqual([
    [["make", "--json", "-f", "x"], { name: "main", ttlMs: 90_000, waitMs: 0 }],
    [["make", "--lease", "theirs"], undefined],
  ]);
  expect((await cli(["run", "--lease", "main", "--ttl", "90", "--", "make"], { cwd, host: { runCommand } })).err).toMatch(
    /--ttl 90 must be a number and a unit/,
  );
  expect((await cli(["run", "--ttl", "9s", "--", "make"], { cwd, host: { runCommand } })).code).toBe(2);
  expect((await cli(["run"], { cwd, host: { runCommand } })).code).toBe(2);
});
