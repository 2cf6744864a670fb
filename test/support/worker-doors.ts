import { createInterface } from "node:readline";
import { duplexPair } from "node:stream";
import { describe, onTestFinished } from "vitest";
import { createRunApi } from "../../src/cli/run-api.ts";
import { createClient } from "../../src/protocol/client.ts";
import { PipeBackend, pipeVerbs } from "../../src/worker/backends/pipe-backend.ts";
import { PipeChannel } from "../../src/worker/backends/pipe-channel.ts";
import { StoreTime } from "../../src/worker/backends/store-time.ts";
import type { RunCommandApi } from "../../src/worker/foreground/foreground-api.ts";
import type { ForegroundSessions } from "../../src/worker/foreground/foreground-sessions.ts";
import type { WorkerBackend } from "../../src/worker/worker-backend.ts";
import { adminToken } from "./admin-token.ts";
import { apiDaemon } from "./api-daemon.ts";

/** The worker service as a worker reaches it through one of its doors. */
export type WorkerDoor = (service: WorkerBackend) => WorkerBackend;

/** @param onFrame - hears each line that crosses, either way. */
export function throughPipe(service: WorkerBackend, onFrame: (frame: string) => void = () => undefined): WorkerBackend {
  const [here, there] = duplexPair();
  for (const end of [here, there]) createInterface({ input: end }).on("line", onFrame);
  const server = new PipeChannel({ stream: there, verbs: pipeVerbs(service), stamp: () => service.now() });
  const time = new StoreTime({ now: service.now(), mono: () => 0 });
  const client = new PipeChannel({ stream: here, onStamp: (now) => time.sync(now) });
  onTestFinished(() => {
    client.close();
    server.close();
  });
  return new PipeBackend(client, time);
}

/** Declares the same tests for each door that has all verbs. */
export function describeWorkerDoors(suite: (door: WorkerDoor) => void): void {
  describe("called in its own process", () => {
    suite((service) => service);
  });
  describe("over the handler host's pipe", () => {
    suite((service) => throughPipe(service));
  });
}

export type ForegroundVerbs = Pick<RunCommandApi, "open" | "start" | "recordCommand" | "renew" | "end" | "abandon">;
export type ForegroundDoor = (sessions: ForegroundSessions) => Promise<ForegroundVerbs>;

async function throughHttp(runSessions: ForegroundSessions): Promise<ForegroundVerbs> {
  const { app } = await apiDaemon({ change: (services) => ({ ...services, runSessions }) });
  const client = createClient({
    token: adminToken,
    transport: async ({ method, path, headers, body }) => {
      const answer = await app.inject({
        method: method as "GET" | "POST",
        url: path,
        headers,
        ...(body === undefined ? {} : { payload: body }),
      });
      return {
        status: answer.statusCode,
        chunks: (async function* () {
          yield answer.rawPayload;
        })(),
      };
    },
  });
  return createRunApi(client);
}

/** Declares the same tests for each door to the verbs of `wakeful run`. */
export function describeForegroundDoors(suite: (door: ForegroundDoor) => void): void {
  describe("called in its own process", () => {
    suite(async (sessions) => ({
      open: (request) => sessions.open(request),
      start: (run) => sessions.start(run),
      recordCommand: (run) => sessions.recordCommand(run),
      renew: (run) => sessions.renew(run),
      end: (run) => sessions.end(run),
      abandon: (run) => sessions.abandon(run),
    }));
  });
  describe("over HTTP", () => {
    suite(throughHttp);
  });
}
