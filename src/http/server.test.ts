import { existsSync, statSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { apiDaemon } from "../../test/support/api-daemon.ts";
import { apiServer, countedBytes } from "../../test/support/api-server.ts";
import { api } from "../protocol/api/index.ts";
import { createClient } from "../protocol/client.ts";
import { startServer } from "./server.ts";
import { openTokens } from "./tokens.ts";

test("the daemon answers its administrator on TCP and on its socket, which others cannot open", async () => {
  const { server, token, services } = await apiServer();
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
  const tokens = await openTokens({ dataDir: services.daemon.dataDir, randomBytes: countedBytes });
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
  const { server } = await apiServer();
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
  const tokens = await openTokens({ dataDir: services.daemon.dataDir, randomBytes: countedBytes });
  const other = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => other.once("listening", resolve));
  onTestFinished(() => void other.close());
  const port = (other.address() as { port: number }).port;
  await expect(
    startServer({ services, tokens, listen: { host: "127.0.0.1", port }, allowedHosts: [], correlationPrefix: "t" }),
  ).rejects.toMatchObject({ code: "unavailable", message: expect.stringContaining(String(port)) });
});
