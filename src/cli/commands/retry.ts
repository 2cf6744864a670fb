import { WakefulError } from "../../domain/errors.ts";
import { api } from "../../protocol/api/index.ts";
import type { CommandCall, CommandContext } from "../command.ts";
import { parseReference, resolveReference } from "../references.ts";

export async function run({ connect, host, json }: CommandContext, { args: [what = ""] }: CommandCall): Promise<void> {
  const reference = parseReference(what, "job");
  const { client } = await connect();
  const { kind, id } = await resolveReference(client, reference);
  if (kind === "run") throw new WakefulError("bad_request", "A run is never repeated; name its job or item.");
  const answer = await client.call(kind === "job" ? api.retryJob : api.retryItem, { params: { id }, body: {} });
  host.output.out(json ? `${JSON.stringify(answer)}\n` : `job:${answer.jobId} is queued with a fresh budget\n`);
}
