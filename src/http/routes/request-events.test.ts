import { expect, test } from "vitest";
import { apiDaemon } from "../../../test/support/api-daemon.ts";
import { failure, startRun } from "../../../test/support/store-rows.ts";
import type { EmittedEvent } from "../../telemetry/events.ts";

/** The API, and the events that it emitted since the last call. */
async function toldDaemon() {
  const daemon = await apiDaemon();
  const events: Pick<EmittedEvent, "name" | "data">[] = [];
  daemon.services.events.subscribe(({ name, data }) => void events.push({ name, data }));
  return { ...daemon, told: () => events.splice(0) };
}

test("a task that is enqueued, and a finished job that is retried, are told with their jobs", async () => {
  const { request, told } = await toldDaemon();
  const { jobId } = (await request("POST", "/v1/jobs", { body: { task: "mail" } })).body;
  expect(told()).toEqual([{ name: "job.enqueued", data: { jobIds: [jobId], queue: "mail" } }]);
  await request("POST", `/v1/jobs/${jobId}/cancel`, { body: {} });
  told();
  const retried = (await request("POST", `/v1/jobs/${jobId}/retry`)).body;
  expect(told()).toEqual([{ name: "job.retried", data: { jobId, newJobId: retried.jobId, actor: "api" } }]);
});

test("a held job that is granted one more attempt is told, a refused grant is not", async () => {
  const { request, services, worker, claim, told } = await toldDaemon();
  const { jobId } = (await request("POST", "/v1/jobs", { body: { task: "mail" } })).body;
  const [run] = await claim(await worker(), ["mail"]);
  if (run === undefined) throw new Error("nothing was claimed");
  await startRun(services.store, run);
  await services.store.runs.settle([failure(run, { disposition: "hold" })]);
  told();
  await request("POST", `/v1/jobs/${jobId}/unhold`, { body: {} });
  expect(told()).toEqual([{ name: "job.unheld", data: { jobId, actor: "api" } }]);
  expect((await request("POST", `/v1/jobs/${jobId}/unhold`, { body: {} })).status).toBe(409);
  expect(told()).toEqual([]);
});

test("a lease is told when it is granted and when it is released, each with its fencing number", async () => {
  const { request, told } = await toldDaemon();
  const process = { hostId: "h", bootId: "b", pidNamespace: "n", pid: 5, startTime: "9" };
  const acquire = (ticket: string) =>
    request("POST", "/v1/leases/shop/acquire", {
      body: { ticket, holder: { kind: "process", process }, ttlMs: 5000, maxHoldMs: 60_000 },
    });
  const { fencing } = (await acquire("t1")).body;
  expect(told()).toEqual([{ name: "lease.granted", data: { lease: "shop", fencing } }]);
  await acquire("t2");
  expect(told()).toEqual([]);
  await request("POST", "/v1/leases/shop/release", { body: { fencing } });
  expect(told()).toEqual([{ name: "lease.released", data: { lease: "shop", fencing } }]);
});
