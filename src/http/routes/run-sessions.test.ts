import { expect, test } from "vitest";
import { apiDaemon } from "../../../test/support/api-daemon.ts";
import { asJobId, asOwnerEpoch, asRunId, asWorkerId } from "../../domain/ids.ts";
import type { DaemonServices } from "../services.ts";

const process = { hostId: "host-one", bootId: "boot", pidNamespace: "ns", pid: 78, startTime: "6" };
const fence = { workerId: 3, ownerEpoch: 1 };

/** A daemon whose run sessions only note what they were asked. */
async function notingDaemon() {
  const asked: [string, unknown][] = [];
  const noting =
    <Answer>(verb: string, answer: Answer) =>
    async (request: unknown): Promise<Answer> => {
      asked.push([verb, request]);
      return answer;
    };
  const ids = { workerId: asWorkerId(3), runId: asRunId(9), jobId: asJobId(7), ownerEpoch: asOwnerEpoch(1) };
  const runSessions: NonNullable<DaemonServices["runSessions"]> = {
    open: noting("open", { ...ids, runDir: "/data/runs/9", renewMs: 5000 }),
    start: noting("start", true),
    recordCommand: noting("recordCommand", true),
    renew: noting("renew", { lost: null }),
    end: noting("end", false),
    abandon: noting("abandon", undefined),
  };
  return { asked, ...(await apiDaemon({ change: (services) => ({ ...services, runSessions }) })) };
}

test("each verb reaches the session that it names, and is answered", async () => {
  const { request, asked } = await notingDaemon();
  const post = async (path: string, body: unknown) => (await request("POST", `/v1/run-sessions${path}`, { body })).body;
  expect(await post("", { argv: ["make", "test"], cwd: "/src", process })).toMatchObject({ runId: 9, jobId: 7, renewMs: 5000 });
  expect(await post("/9/start", { ...fence, process })).toEqual({ started: true });
  expect(await post("/9/command", { ...fence, process })).toEqual({ recorded: true });
  expect(await post("/9/renew", fence)).toEqual({ lost: null });
  expect(await post("/9/end", { ...fence, exitCode: 255 })).toEqual({ recorded: false });
  expect(await post("/9/abandon", { ...fence, reason: "interrupted" })).toEqual({ done: true });
  const run = { ...fence, runId: 9 };
  expect(asked).toEqual([
    ["open", { argv: ["make", "test"], cwd: "/src", process }],
    ["start", { ...run, process }],
    ["recordCommand", { ...run, process }],
    ["renew", run],
    ["end", { ...run, exitCode: 255 }],
    ["abandon", { ...run, reason: "interrupted" }],
  ]);
});

test.each([
  ["", { argv: [], cwd: "/", process }],
  ["", { argv: ["a"], cwd: "/", process, shell: true }],
  ["", { argv: ["a"], cwd: "/", process: { ...process, pid: 0 } }],
  ["", { argv: ["a"], cwd: "/", process: { ...process, uid: 0 } }],
  ["", { argv: Array.from({ length: 101 }, () => "a"), cwd: "/", process }],
  ["/0/renew", fence],
  ["/nine/renew", fence],
  ["/9/renew", { workerId: 3 }],
  ["/9/end", { ...fence, exitCode: 256 }],
  ["/9/end", { ...fence, exitCode: -1 }],
  ["/9/start", { ...fence }],
])("POST /v1/run-sessions%s with %j is refused before anything is asked", async (path, body) => {
  const { request, asked } = await notingDaemon();
  const answer = await request("POST", `/v1/run-sessions${path}`, { body });
  expect([answer.status, answer.body.error.code, asked]).toEqual([400, "bad_request", []]);
});

test("where no daemon runs, no run is opened", async () => {
  const { request } = await apiDaemon();
  const answer = await request("POST", "/v1/run-sessions", { body: { argv: ["a"], cwd: "/", process } });
  expect([answer.status, answer.body.error.code]).toEqual([503, "unavailable"]);
});

test.each(["%0a", "a%0Ab", "%20deploy", "x".repeat(201)])("a lease is not made under the name %s", async (name) => {
  const { request } = await apiDaemon();
  const body = { ticket: "t", holder: { kind: "process", process }, ttlMs: 60_000, maxHoldMs: 60_000 };
  expect((await request("POST", `/v1/leases/${name}/acquire`, { body })).status).toBe(400);
  expect((await request("GET", "/v1/leases")).body.leases).toEqual([]);
});

test("a free lease is granted to a caller that does not wait, however long the store takes", async () => {
  let advance: (ms: number) => void = () => undefined;
  const daemon = await apiDaemon({
    change: (services) => {
      const { store } = services;
      const acquire: typeof store.leases.acquire = (request) => {
        advance(500);
        return store.leases.acquire(request);
      };
      return { ...services, store: { ...store, now: () => store.now(), leases: { ...store.leases, acquire } } };
    },
  });
  ({ advance } = daemon);
  const body = { ticket: "t", holder: { kind: "process", process }, ttlMs: 60_000, maxHoldMs: 60_000 };
  const ask = async (ticket: string) =>
    (await daemon.request("POST", "/v1/leases/deploy/acquire", { body: { ...body, ticket } })).body.kind;
  expect([await ask("first"), await ask("second")]).toEqual(["held", "timed_out"]);
  expect((await daemon.request("GET", "/v1/leases")).body.leases).toMatchObject([{ name: "deploy", waiters: 0 }]);
});
