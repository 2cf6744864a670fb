import { api } from "../../protocol/api/index.ts";
import { withoutControls } from "../../protocol/terminal-text.ts";
import type { CommandCall, CommandContext } from "../command.ts";
import { itemText, jobText, runText } from "../details.ts";
import { parseReference, resolveReference } from "../references.ts";

export async function run({ connect, host, json }: CommandContext, { args: [what = ""] }: CommandCall): Promise<void> {
  const reference = parseReference(what, "job");
  const { client } = await connect({ offline: true });
  const { kind, id } = await resolveReference(client, reference);
  const now = host.clock.wall();
  const show = (answer: unknown, text: string): void => host.output.out(json ? `${JSON.stringify(answer)}\n` : withoutControls(text));
  if (kind === "item") {
    const answer = await client.call(api.getItem, { params: { id } });
    show(answer, itemText(answer, now));
  } else if (kind === "job") {
    const answer = await client.call(api.getJob, { params: { id } });
    show(answer, jobText(answer, now));
  } else {
    const answer = await client.call(api.getRun, { params: { id } });
    show(answer, runText(answer.run, now));
  }
}
