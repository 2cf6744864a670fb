import { chmodSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { apiDaemon } from "../../test/support/api-daemon.ts";
import { tempDir } from "../../test/support/temp-dir.ts";
import { asRunId, asWorkerId } from "../domain/ids.ts";
import { api } from "../protocol/api/index.ts";
import { createClient } from "../protocol/client.ts";
import { runOfToken } from "../protocol/run-token.ts";
import { startServer } from "./server.ts";
import { adminTokenPath, openTokens } from "./tokens.ts";

const randomBytes = (() => {
  let next = 1;
  return (count: number) => Buffer.alloc(count, next++);
})();

async function running() {
  const { services } = await apiDaemon();
  const tokens = await openTokens({ dataDir: services.daemon.dataDir, randomBytes });
  const server = await startServer({
    services,
    tokens,
    listen: { host: "127.0.0.1", port: 0 },
    allowedHosts: [],
    correlationPrefix: "t",
    eventsKept: 3,
  });
  onTestFinished(() => server.close());
  const token = readFileSync(adminTokenPath(services.daemon.dataDir), "utf8").trim();
  return { services, server, token };
}

test("the daemon answers its administrator on TCP and on its socket, which others cannot open", async () => {
  const { server, token, services } = await running();
  const socketPath = server.socketPath ?? "";
  for (const where of [{ url: server.url }, { socketPath }]) {
    const client = createClient({ ...where, token });
    expect((await client.call(api.getDaemon, {})).dataDir).toBe(services.daemon.dataDir);
    await expect(createClient(where).call(api.getDaemon, {})).rejects.toMatchObject({ code: "unauthorized" });
    await expect(client.call(api.getJob, { params: { id: 99 } })).rejects.toMatchObject({ code: "not_found", details: { jobId: 99 } });
  }
  expect(statSync(socketPath).mode & 0o777).toBe(0o600);
});

test("a socket file that a killed daemon left is replaced, and a stopped daemon leaves none", async () => {
  const { services } = await apiDaemon();
  const tokens = await openTokens({ dataDir: services.daemon.dataDir, randomBytes });
  writeFileSync(`${services.daemon.dataDir}/wakeful.sock`, "");
  const server = await startServer({ services, tokens, listen: { host: "127.0.0.1", port: 0 }, allowedHosts: [], correlationPrefix: "t" });
  expect((await createClient({ socketPath: server.socketPath ?? "" }).call(api.healthz, {})).status).toBe("ok");
  await server.close();
  expect(existsSync(server.socketPath ?? "")).toBe(false);
});

test.each([
  ["what is no HTTP", "\u0016\u0003\u0001 hello\r\n\r\n", 400, "bad_request"],
  ["an endless header", `GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: ${"a".repeat(100_000)}\r\n\r\n`, 413, "payload_too_large"],
  ["two lengths", "POST /v1/pause HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello", 400, "bad_request"],
  ["no host", "GET /v1/items HTTP/1.1\r\nconnection: close\r\n\r\n", 403, "forbidden"],
  ["a request to a proxy", "CONNECT elsewhere:443 HTTP/1.1\r\nhost: localhost\r\n\r\n", 400, "bad_request"],
  [
    "an expectation of its own",
    "POST /v1/pause HTTP/1.1\r\nhost: localhost\r\nexpect: much\r\ncontent-length: 2\r\n\r\n{}",
    400,
    "bad_request",
  ],
  ["an address that is none", "GET /v1/items/%zz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", 400, "bad_request"],
])("%s is answered in the shape of every other error, on TCP and on the socket", async (_what, bytes, status, code) => {
  const { server } = await running();
  const { port } = new URL(server.url);
  for (const where of [{ host: "127.0.0.1", port: Number(port) }, { path: server.socketPath ?? "" }]) {
    const answer = await answerTo(where, bytes);
    expect(answer.split("\r\n")[0]).toContain(` ${status} `);
    const body: unknown = JSON.parse(answer.slice(answer.indexOf("\r\n\r\n")));
    expect(body).toMatchObject({ error: { code, correlationId: expect.stringMatching(/^t-\d+$/) } });
  }
});

/** All that comes back on a connection that is sent these bytes. */
async function answerTo(
  where: { readonly host: string; readonly port: number } | { readonly path: string },
  bytes: string,
): Promise<string> {
  const socket = connect(where);
  const parts: Buffer[] = [];
  socket.on("data", (part: Buffer) => parts.push(part));
  socket.write(bytes);
  await new Promise((resolve) => socket.once("close", resolve).on("error", resolve));
  return Buffer.concat(parts).toString("utf8");
}

test("an address that is taken is told in words", async () => {
  const { services } = await apiDaemon();
  const tokens = await openTokens({ dataDir: services.daemon.dataDir, randomBytes });
  const other = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => other.once("listening", resolve));
  onTestFinished(() => void other.close());
  const port = (other.address() as { port: number }).port;
  await expect(
    startServer({ services, tokens, listen: { host: "127.0.0.1", port }, allowedHosts: [], correlationPrefix: "t" }),
  ).rejects.toMatchObject({ code: "unavailable", message: expect.stringContaining(String(port)) });
});

test("a stream that broke is resumed without loss, and a gap is told", async () => {
  const { server, token, services } = await running();
  const client = createClient({ url: server.url, token });
  const emit = (id: number) => services.events.emit("worker.left", { workerId: asWorkerId(id) });

  const first = await openEvents();
  await first.until(/id: 3\.0/);
  emit(1);
  expect(await first.until(/"workerId":1/)).toMatch(/id: 3\.1\nevent: worker.left\n/);
  first.end();
  emit(2);
  emit(3);
  const second = await openEvents("3.1");
  expect(await second.until(/"workerId":3/)).not.toMatch(/gap|"workerId":1}/);
  second.end();
  for (const id of [4, 5, 6, 7]) emit(id);
  const third = await openEvents("3.3");
  expect(await third.until(/"workerId":7/)).toMatch(/event: gap\ndata: {"missed":1}\n\nid: 3\.5/);
  third.end();

  async function openEvents(lastEventId?: string) {
    const abort = new AbortController();
    const chunks = await client.stream(
      api.events,
      { query: { names: "worker.*" } },
      { signal: abort.signal, headers: lastEventId === undefined ? {} : { "last-event-id": lastEventId } },
    );
    const pieces = chunks[Symbol.asyncIterator]();
    let text = "";
    return {
      async until(pattern: RegExp) {
        while (!pattern.test(text)) {
          const { value, done } = await pieces.next();
          if (done === true) throw new Error(`the stream ended after ${text}`);
          text += Buffer.from(value).toString();
        }
        return text;
      },
      end: () => abort.abort(),
    };
  }
});

test("events that are not asked for are not sent", async () => {
  const { server, token, services } = await running();
  const chunks = await createClient({ url: server.url, token }).stream(
    api.events,
    { query: { names: "item.*,daemon.stopped" } },
    { headers: { "last-event-id": "3.0" } },
  );
  services.events.emit("worker.left", { workerId: asWorkerId(1) });
  services.events.emit("daemon.stopped", { reason: "test", late: [], failed: [] });
  for await (const chunk of chunks) {
    expect(Buffer.from(chunk).toString()).toMatch(/^id: 3\.2\nevent: daemon.stopped/);
    break;
  }
});

test("tokens are made once, for their owner's eyes only, and never from a torn file", async () => {
  const dataDir = tempDir("tokens");
  const made = await openTokens({ dataDir, randomBytes });
  const admin = readFileSync(adminTokenPath(dataDir), "utf8").trim();
  expect([
    statSync(adminTokenPath(dataDir)).mode & 0o777,
    statSync(`${dataDir}/tokens`).mode & 0o777,
    Buffer.from(admin, "base64url").length,
  ]).toEqual([0o600, 0o700, 32]);
  chmodSync(adminTokenPath(dataDir), 0o644);
  const again = await openTokens({ dataDir, randomBytes });
  expect([again.isAdmin(admin), again.isAdmin(`${admin}x`), again.isAdmin("")]).toEqual([true, false, false]);
  expect(statSync(adminTokenPath(dataDir)).mode & 0o777).toBe(0o600);
  expect(runOfToken(again.runSecret, made.ofRun(asRunId(9)))).toBe(9);
  expect(readdirSync(`${dataDir}/tokens`).toSorted()).toEqual(["admin", "run-secret"]);
  writeFileSync(adminTokenPath(dataDir), "");
  await expect(openTokens({ dataDir, randomBytes })).rejects.toMatchObject({ code: "config_invalid" });
});

test("two first starts at once agree on one token", async () => {
  const dataDir = tempDir("tokens");
  const both = await Promise.all([openTokens({ dataDir, randomBytes }), openTokens({ dataDir, randomBytes })]);
  const admin = readFileSync(adminTokenPath(dataDir), "utf8").trim();
  expect(both.map((tokens) => tokens.isAdmin(admin))).toEqual([true, true]);
});
