import { WakefulError } from "../../domain/errors.ts";
import { api } from "../../protocol/api/index.ts";
import { type CommandCall, type CommandContext, textOption } from "../command.ts";
import { parseReference, resolveReference } from "../references.ts";

export async function run({ connect, host, json }: CommandContext, { args: [what = ""], options }: CommandCall): Promise<void> {
  const reference = parseReference(what, "job");
  const { client } = await connect();
  const { kind, id } = await resolveReference(client, reference);
  if (kind === "run") throw new WakefulError("bad_request", "Cancel the run's job or item: a run that ended alone would be tried again.");
  const reason = textOption(options, "reason");
  const answer = await client.call(kind === "job" ? api.cancelJob : api.cancelItem, {
    params: { id },
    body: reason === undefined ? {} : { reason },
  });
  host.output.out(json ? `${JSON.stringify(answer)}\n` : `${kind}:${id} is cancelled\n`);
}
