import { expect, test } from "vitest";
import { asRunId } from "../domain/ids.ts";
import { runOfToken, runToken } from "./run-token.ts";

const secret = Buffer.alloc(32, 7);

test("a run token names its own run and no other", () => {
  const token = runToken(secret, asRunId(41));
  expect(runOfToken(secret, token)).toBe(41);
  expect(runOfToken(secret, token.replace(".41.", ".42."))).toBeUndefined();
  expect(runOfToken(Buffer.alloc(32, 8), token)).toBeUndefined();
  expect(runOfToken(secret, `${token}A`)).toBeUndefined();
  expect(runOfToken(secret, "")).toBeUndefined();
});
