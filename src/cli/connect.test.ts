import { once } from "node:events";
import { rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { apiServer } from "../../test/support/api-server.ts";
import { cli } from "../../test/support/cli-call.ts";
import { tempDir } from "../../test/support/temp-dir.ts";
import { adminTokenPath } from "../http/tokens.ts";

test("a daemon is found by the socket of its data directory, and asked with the token that lies there", async () => {
  const { services } = await apiServer();
  const { dataDir } = services.daemon;
  await services.store.jobs.enqueue({ queue: "mail", jobs: [{}] });
  const { code, out, err } = await cli(["ls", "jobs", "--data-dir", dataDir], {
    cwd: tempDir("cli"),
    env: { WAKEFUL_HTTP_LISTEN: "127.0.0.1:0" },
  });
  expect([code, err]).toEqual([0, ""]);
  expect(out).toMatch(/job:1 +mail/);
});

test("a token that is not there any more is told with its path", async () => {
  const { services } = await apiServer();
  const { dataDir } = services.daemon;
  rmSync(adminTokenPath(dataDir));
  const { code, err } = await cli(["ls", "jobs", "--data-dir", dataDir], { cwd: tempDir("cli") });
  expect([code, err]).toEqual([6, expect.stringContaining(adminTokenPath(dataDir))]);
});

test("something that is no daemon, where one should be, is named as such", async () => {
  const cwd = tempDir("cli");
  const other = createServer((_request, answer) => answer.end("hello")).listen(0, "127.0.0.1");
  await once(other, "listening");
  onTestFinished(() => void other.close());
  const { port } = other.address() as AddressInfo;
  const env = { WAKEFUL_HTTP_LISTEN: `127.0.0.1:${port}` };
  expect(await cli(["cancel", "job:1"], { cwd, env })).toMatchObject({
    code: 7,
    err: expect.stringContaining(`http://127.0.0.1:${port} (something else answers there)`),
  });
});

test("a foreign URL is asked with the token of the environment, and an absent one is told", async () => {
  expect(await cli(["ls", "--url", "http://127.0.0.1:1"], { env: { WAKEFUL_TOKEN: "t" } })).toMatchObject({
    code: 7,
    err: expect.stringContaining("127.0.0.1:1"),
  });
  expect((await cli(["ls", "--url", "ftp://x"], { env: { WAKEFUL_TOKEN: "t" } })).code).toBe(2);
});
