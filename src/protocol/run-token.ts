import { createHmac, timingSafeEqual } from "node:crypto";
import { asRunId, type RunId } from "../domain/ids.ts";

const prefix = "wkr1";

/**
 * The token of one run: good for that run's own signs of life and nothing else, whoever supervises it.
 * It needs no row: the run id and the daemon's secret make it again.
 */
export function runToken(secret: Buffer, runId: RunId): string {
  return `${prefix}.${runId}.${signatureOf(secret, runId).toString("base64url")}`;
}

/** The run that `token` was made for, or `undefined` when this secret did not make it. */
export function runOfToken(secret: Buffer, token: string): RunId | undefined {
  const match = /^wkr1\.([1-9][0-9]{0,15})\.([A-Za-z0-9_-]{43})$/.exec(token);
  if (match === null) return undefined;
  const runId = asRunId(Number(match[1]));
  const given = Buffer.from(match[2] ?? "", "base64url");
  const expected = signatureOf(secret, runId);
  return given.length === expected.length && timingSafeEqual(given, expected) ? runId : undefined;
}

const signatureOf = (secret: Buffer, runId: RunId): Buffer => createHmac("sha256", secret).update(`${prefix}.${runId}`).digest();
