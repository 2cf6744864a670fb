import { expect, test } from "vitest";
import { apiDaemon } from "../../../test/support/api-daemon.ts";
import { cli } from "../../../test/support/cli-call.ts";

test("a lease is released under the number that was seen", async () => {
  const daemon = await apiDaemon();
  const process = { hostId: "h", bootId: "b", pidNamespace: "n", pid: 5, startTime: "9" };
  await daemon.request("POST", "/v1/leases/main/acquire", {
    body: { ticket: "t", holder: { kind: "process", process }, ttlMs: 5000, maxHoldMs: 6000 },
  });
  expect((await cli(["leases"], { daemon })).out).toMatch(/main +held +process 5/);
  expect((await cli(["leases", "release", "main"], { daemon })).out).toContain("lease main is released");
  expect((await cli(["leases", "release", "main"], { daemon })).code).toBe(5);
  expect((await cli(["leases", "release", "other"], { daemon })).code).toBe(4);
});
