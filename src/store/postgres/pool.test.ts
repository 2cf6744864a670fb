import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { postgresTarget } from "./client-config.ts";
import { StatementPool } from "./pool.ts";

/** A message of the server's: its letter, the length of what follows, and that. */
function message(letter: string, body: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeInt32BE(body.length + 4);
  return Buffer.concat([Buffer.from(letter), length, body]);
}

test("a connection that the server ends as soon as it is open is an error of its borrower, and never the end of the process", async () => {
  const letIn = message("R", Buffer.alloc(4));
  const ready = message("Z", Buffer.from("I"));
  const ended = message("E", Buffer.from("SFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"));
  const server = createServer((socket) => {
    socket.on("error", () => socket.destroy());
    // In one piece, so that the driver reads the end before anybody could listen for it.
    socket.once("data", () => socket.end(Buffer.concat([letIn, ready, ended])));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const pool = new StatementPool({ target: postgresTarget({ url: `postgres://u@127.0.0.1:${port}/db` }), size: 1 });
  onTestFinished(() => pool.end());

  await expect(pool.connect()).rejects.toMatchObject({ code: "unavailable", retryable: true });
});
