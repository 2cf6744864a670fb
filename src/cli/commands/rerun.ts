import { api } from "../../protocol/api/index.ts";
import { type CommandCall, type CommandContext, textOption } from "../command.ts";
import { itemOf } from "../references.ts";

export async function run({ connect, host, json }: CommandContext, { args: [what = ""], options }: CommandCall): Promise<void> {
  const { client } = await connect();
  const id = await itemOf(client, what);
  const from = textOption(options, "from");
  const answer = await client.call(api.rerunItem, { params: { id }, body: from === undefined ? {} : { from } });
  host.output.out(
    json ? `${JSON.stringify(answer)}\n` : `item:${id} runs again${from === undefined ? "" : ` from ${from}`} as job:${answer.jobId}\n`,
  );
}
