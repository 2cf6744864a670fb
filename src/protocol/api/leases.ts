import { z } from "zod";
import { days } from "../../domain/time.ts";
import { endpoint } from "../endpoint.ts";
import { done, durationMs, leaseNameParams, nameParams, pageLimit, reasonText, rowId } from "../wire.ts";
import { leaseWire, processWire } from "./rows.ts";

const listLeases = endpoint({
  method: "GET",
  path: "/v1/leases",
  tag: "leases",
  summary: "Named exclusive holds.",
  access: "admin",
  query: z.strictObject({ limit: pageLimit }),
  answer: z.object({ leases: z.array(leaseWire) }),
});

const acquireLease = endpoint({
  method: "POST",
  path: "/v1/leases/:name/acquire",
  tag: "leases",
  summary: "Asks for a lease: held at once, or a place in line until the timeout. Repeat with the same ticket to ask again.",
  access: "admin",
  params: leaseNameParams,
  body: z.strictObject({
    ticket: z.string().min(1).max(200),
    holder: z.discriminatedUnion("kind", [
      z.strictObject({ kind: z.literal("run"), runId: rowId }),
      z.strictObject({ kind: z.literal("process"), process: processWire }),
    ]),
    ttlMs: durationMs.min(1000).max(days(30)),
    maxHoldMs: durationMs.min(1000).max(days(365)),
    waitMs: durationMs.max(days(30)).optional().meta({ description: "How long to stay in line; 0 unless told." }),
  }),
  answer: z.discriminatedUnion("kind", [
    z.object({ kind: z.literal("held"), fencing: z.int() }),
    z.object({ kind: z.literal("waiting"), position: z.int() }),
    z.object({ kind: z.literal("timed_out") }),
  ]),
});

const renewLease = endpoint({
  method: "POST",
  path: "/v1/leases/:name/renew",
  tag: "leases",
  summary: "Extends a lease by its TTL. `conflict` when the fencing number is not the current one: the lease is lost.",
  access: "admin",
  params: nameParams,
  body: z.strictObject({ fencing: z.int().min(0) }),
  answer: done,
});

const releaseLease = endpoint({
  method: "POST",
  path: "/v1/leases/:name/release",
  tag: "leases",
  summary: "Frees a lease and grants it to the first in line.",
  access: "admin",
  params: nameParams,
  body: z.strictObject({ fencing: z.int().min(0), reason: reasonText.optional() }),
  answer: done,
});

const abandonLease = endpoint({
  method: "POST",
  path: "/v1/leases/:name/abandon",
  tag: "leases",
  summary: "Leaves the line.",
  access: "admin",
  params: nameParams,
  body: z.strictObject({ ticket: z.string().min(1).max(200) }),
  answer: done,
});

export const leasesApi = { listLeases, acquireLease, renewLease, releaseLease, abandonLease };
