import { WakefulError } from "../../domain/errors.ts";
import { api } from "../../protocol/api/index.ts";
import { type CommandCall, type CommandContext, textOption } from "../command.ts";
import { itemOf } from "../references.ts";

export async function run({ connect, host, json }: CommandContext, { args: [what = ""], options }: CommandCall): Promise<void> {
  const to = textOption(options, "host");
  if (to === undefined) throw new WakefulError("bad_request", "Say which daemon has the item's files now: --host MACHINE:DIRECTORY.");
  const { client } = await connect();
  const id = await itemOf(client, what);
  const answer = await client.call(api.moveItem, { params: { id }, body: { host: to } });
  host.output.out(json ? `${JSON.stringify(answer)}\n` : `item:${id} is run by the daemon of ${answer.place} from now on\n`);
}
