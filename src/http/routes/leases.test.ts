import { expect, test } from "vitest";
import { apiDaemon } from "../../../test/support/api-daemon.ts";

test("a lease is held by its fencing number alone", async () => {
  const { request } = await apiDaemon();
  const process = { hostId: "h", bootId: "b", pidNamespace: "n", pid: 5, startTime: "9" };
  const ask = (ticket: string) =>
    request("POST", "/v1/leases/org%2Frepo/acquire", {
      body: { ticket, holder: { kind: "process", process }, ttlMs: 5000, maxHoldMs: 60_000, waitMs: 1000 },
    });
  const held = (await ask("t1")).body;
  expect(held.kind).toBe("held");
  expect((await ask("t2")).body).toEqual({ kind: "waiting", position: 1 });
  expect((await request("POST", "/v1/leases/org%2Frepo/renew", { body: { fencing: held.fencing + 1 } })).status).toBe(409);
  expect((await request("POST", "/v1/leases/org%2Frepo/renew", { body: { fencing: held.fencing } })).status).toBe(200);
  expect((await request("POST", "/v1/leases/org%2Frepo/release", { body: { fencing: held.fencing } })).status).toBe(200);
  expect((await request("GET", "/v1/leases")).body.leases).toMatchObject([{ name: "org/repo", state: "held", waiters: 0 }]);
});

test("whoever does not wait for a lease gets it when it is free, and leaves no place in line when it is not", async () => {
  const { request } = await apiDaemon();
  const process = { hostId: "h", bootId: "b", pidNamespace: "n", pid: 5, startTime: "9" };
  const ask = async (ticket: string) =>
    (
      await request("POST", "/v1/leases/main/acquire", {
        body: { ticket, holder: { kind: "process", process }, ttlMs: 5000, maxHoldMs: 60_000 },
      })
    ).body;
  expect((await ask("t1")).kind).toBe("held");
  expect(await ask("t2")).toEqual({ kind: "timed_out" });
  expect((await request("GET", "/v1/leases")).body.leases).toMatchObject([{ state: "held", waiters: 0 }]);
});
