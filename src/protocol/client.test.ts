import { expect, test } from "vitest";
import { api } from "./api/index.ts";
import { createClient } from "./client.ts";

test("the client puts ids and names into the path, escaped, and only given values into the query", async () => {
  const seen: string[] = [];
  const client = createClient({
    transport: async ({ method, path }) => {
      seen.push(`${method} ${path}`);
      return {
        status: 200,
        chunks: (async function* () {
          yield Buffer.from('{"done":true}');
        })(),
      };
    },
  });
  await client.call(api.renewLease, { params: { name: "org/repo ?" }, body: { fencing: 3 } });
  await client.stream(api.listItems, { query: { pipeline: "a&b", limit: 5 } });
  expect(seen).toEqual(["POST /v1/leases/org%2Frepo%20%3F/renew", "GET /v1/items?pipeline=a%26b&limit=5"]);
});

test("a daemon that is not there is told as daemon_unreachable", async () => {
  const client = createClient({ socketPath: "/nonexistent/wakeful.sock", token: "x" });
  await expect(client.call(api.healthz, {})).rejects.toMatchObject({ code: "daemon_unreachable", retryable: true });
});
