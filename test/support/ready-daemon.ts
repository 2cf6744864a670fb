import { readFileSync } from "node:fs";
import { join } from "node:path";
import { adminTokenPath } from "../../src/http/tokens.ts";
import { api } from "../../src/protocol/api/index.ts";
import { type Client, createClient } from "../../src/protocol/client.ts";
import { until } from "./until.ts";

/** A client of the daemon that has this data directory, once that daemon has started whole. */
export async function readyDaemon(dataDir: string): Promise<Client> {
  return await until(
    async () => {
      const token = readFileSync(adminTokenPath(dataDir), "utf8").trim();
      const client = createClient({ socketPath: join(dataDir, "wakeful.sock"), token });
      await client.call(api.runLoop, { params: { name: "scheduler" }, body: {} });
      return client;
    },
    { what: "the daemon to be up" },
  );
}
