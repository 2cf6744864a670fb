import { api } from "../../protocol/api/index.ts";
import type { CommandCall, CommandContext } from "../command.ts";
import { parseReference, resolveReference } from "../references.ts";

export async function run({ connect, host, json }: CommandContext, { args: [what = ""] }: CommandCall): Promise<void> {
  const reference = parseReference(what, "job");
  const { client } = await connect({ offline: true });
  const { kind, id } = await resolveReference(client, reference);
  const story = await client.call(api.why, { query: { [kind]: id } });
  host.output.out(json ? `${JSON.stringify(story)}\n` : `${story.text}\n`);
}
