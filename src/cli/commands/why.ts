import { api } from "../../protocol/api/index.ts";
import { withoutControls } from "../../protocol/terminal-text.ts";
import { type CommandCall, type CommandContext, flagOption } from "../command.ts";
import { parseReference, resolveReference } from "../references.ts";

export async function run({ connect, host, json }: CommandContext, { args: [what = ""], options }: CommandCall): Promise<void> {
  const reference = parseReference(what, "job");
  const { client } = await connect({ offline: true });
  const { kind, id } = await resolveReference(client, reference);
  const raw = flagOption(options, "raw");
  // Sent only when asked for: an older daemon refuses it.
  const story = await client.call(api.why, { query: { [kind]: id, raw: raw ? true : undefined } });
  host.output.out(json ? `${JSON.stringify(story)}\n` : `${raw ? story.text : withoutControls(story.text)}\n`);
}
