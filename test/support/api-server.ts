import { readFileSync } from "node:fs";
import { onTestFinished } from "vitest";
import { startServer } from "../../src/http/server.ts";
import { adminTokenPath, openTokens } from "../../src/http/tokens.ts";
import { apiDaemon } from "./api-daemon.ts";

/** Entropy that never comes twice in one process. */
export const countedBytes = (() => {
  let next = 1;
  return (count: number) => Buffer.alloc(count, next++);
})();

/** The API of {@link apiDaemon} on a port and a socket of its own. */
export async function apiServer() {
  const { services } = await apiDaemon();
  const tokens = await openTokens({ dataDir: services.daemon.dataDir, randomBytes: countedBytes });
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
