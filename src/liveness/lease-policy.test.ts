import fc from "fast-check";
import { expect, test } from "vitest";
import { at } from "../../test/support/judged-run.ts";
import type { Proof } from "./evidence.ts";
import { explainLease, judgeLease, type LeaseFacts, type LeaseVerdict } from "./lease-policy.ts";

const lease: LeaseFacts = { grantedAt: at(0), ttlMs: 600_000, maxHoldMs: 3_600_000 };
const judge = (holder: Proof, now: number, facts: Partial<LeaseFacts> = {}, stopping = false) =>
  judgeLease({ ...lease, ...facts }, { holder, stopping }, at(now));

/** What a person reads where something is done about a lease. */
const told = (verdict: LeaseVerdict) => verdict.kind !== "keep" && explainLease(verdict);

test("a dead holder's lease is free now, without waiting for its TTL or for anyone to ask [B-3, B-56]", () => {
  expect(judge("dead", 0)).toEqual({ kind: "free", reason: "holder_dead" });
  expect(told(judge("dead", 0))).toBe("its holder is dead");
});

test("an unknown holder keeps it until the TTL, counted from the last renewal [B-56]", () => {
  expect(judge("unknown", 599)).toEqual({ kind: "keep", reason: "within_ttl" });
  expect(judge("unknown", 600)).toMatchObject({ kind: "free", reason: "ttl_over", ageMs: 600_000 });
  expect(told(judge("unknown", 601))).toBe("not renewed for 601 s (TTL 600 s), and nobody can tell whether its holder lives");
  expect(judge("unknown", 600, { renewedAt: at(300) })).toMatchObject({ kind: "keep" });
});

test("a living holder never loses it by TTL: one alert, and a stop at the longest hold", () => {
  expect(judge("alive", 599)).toMatchObject({ kind: "keep" });
  expect(judge("alive", 600)).toMatchObject({ kind: "alert", reason: "past_ttl" });
  expect(judge("alive", 700, { alertedAt: at(600) })).toEqual({ kind: "keep", reason: "holder_alive" });
  expect(judge("alive", 3600, { renewedAt: at(3599) })).toMatchObject({ kind: "stop_then_free", heldMs: 3_600_000 });
  expect(told(judge("alive", 3600, { renewedAt: at(3599) }))).toBe("held for 3600 s (limit 3600 s)");
  expect(told(judge("alive", 600))).toBe("not renewed for 600 s (TTL 600 s), but its holder is alive");
});

test("without a longest hold a living holder keeps it for ever, after the one alert", () => {
  const keeps = { maxHoldMs: undefined, alertedAt: at(600) };
  expect(judge("alive", 1_000_000, keeps)).toEqual({ kind: "keep", reason: "holder_alive" });
});

test("nothing is freed while its holder is being stopped, and no living holder's lease is ever freed directly", () => {
  const proofs = fc.constantFrom<Proof>("alive", "dead", "unknown");
  fc.assert(
    fc.property(proofs, fc.integer({ min: 0, max: 10_000 }), fc.boolean(), (holder, now, stopping) => {
      const verdict = judge(holder, now, {}, stopping);
      if (stopping) expect(verdict).toEqual({ kind: "keep", reason: "being_stopped" });
      if (holder === "alive") expect(verdict.kind).not.toBe("free");
    }),
  );
});
