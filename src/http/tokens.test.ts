import { randomBytes } from "node:crypto";
import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { tempDir } from "../../test/support/temp-dir.ts";
import { asRunId } from "../domain/ids.ts";
import { runOfToken } from "../protocol/run-token.ts";
import { adminTokenPath, openTokens } from "./tokens.ts";

test("tokens are made once, for their owner's eyes only, and never from a torn file", async () => {
  const dataDir = tempDir("tokens");
  const made = await openTokens({ dataDir, randomBytes });
  const admin = readFileSync(adminTokenPath(dataDir), "utf8").trim();
  expect([
    statSync(adminTokenPath(dataDir)).mode & 0o777,
    statSync(`${dataDir}/tokens`).mode & 0o777,
    Buffer.from(admin, "base64url").length,
  ]).toEqual([0o600, 0o700, 32]);
  chmodSync(adminTokenPath(dataDir), 0o644);
  const again = await openTokens({ dataDir, randomBytes });
  expect([again.isAdmin(admin), again.isAdmin(`${admin}x`), again.isAdmin("")]).toEqual([true, false, false]);
  expect(statSync(adminTokenPath(dataDir)).mode & 0o777).toBe(0o600);
  expect(runOfToken(again.runSecret, made.ofRun(asRunId(9)))).toBe(9);
  expect(readdirSync(`${dataDir}/tokens`).toSorted()).toEqual(["admin", "run-secret"]);
  writeFileSync(adminTokenPath(dataDir), "");
  await expect(openTokens({ dataDir, randomBytes })).rejects.toMatchObject({ code: "config_invalid" });
});

test("two first starts at once agree on one token", async () => {
  const dataDir = tempDir("tokens");
  const both = await Promise.all([openTokens({ dataDir, randomBytes }), openTokens({ dataDir, randomBytes })]);
  const admin = readFileSync(adminTokenPath(dataDir), "utf8").trim();
  expect(both.map((tokens) => tokens.isAdmin(admin))).toEqual([true, true]);
});
