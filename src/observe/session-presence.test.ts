import { expect, test } from "vitest";
import { asRunId, asWorkerId } from "../domain/ids.ts";
import { asInstant } from "../domain/time.ts";
import { PresenceRegistry } from "./session-presence.ts";

const seconds = (n: number): number => n * 1000;

test("a session's word about a run counts only when it can know of it", () => {
  const book = new PresenceRegistry();
  const at = (s: number) => asInstant(1_000_000 + seconds(s));
  const workerId = asWorkerId(1);
  const run = { runId: asRunId(7), workerId, claimSeq: 3, reservedAt: at(10) };
  expect(book.reportOn(run)).toEqual({ kind: "notNamed", since: at(10) });
  book.heard(workerId, { at: at(11), held: [], claimSeqReceived: 2 });
  expect(book.reportOn(run), "the claim's answer may be on its way").toEqual({ kind: "notNamed", since: at(10) });
  book.heard(workerId, { at: at(12), held: [run.runId], claimSeqReceived: 3 });
  expect(book.reportOn(run)).toEqual({ kind: "holds", at: at(12) });
  expect(book.hasLetGo(workerId, run.runId, at(11))).toBe(false);
  book.heard(workerId, { at: at(13), held: [], claimSeqReceived: 3 });
  expect(book.reportOn(run)).toEqual({ kind: "doesNotHold", at: at(13) });
  expect(book.hasLetGo(workerId, run.runId, at(13)), "said before the end of the run").toBe(false);
  expect(book.hasLetGo(workerId, run.runId, at(12))).toBe(true);
  book.forget(workerId);
  expect(book.reportOn({ ...run, workerId: null })).toEqual({ kind: "notNamed", since: at(10) });
});
