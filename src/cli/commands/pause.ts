import { api } from "../../protocol/api/index.ts";
import { type CommandCall, type CommandContext, flagOption } from "../command.ts";
import { pauseTarget } from "../references.ts";

export const run = (context: CommandContext, call: CommandCall): Promise<void> => setPaused(context, call, true);
/** `wakeful resume`. */
export const resume = (context: CommandContext, call: CommandCall): Promise<void> => setPaused(context, call, false);

async function setPaused({ connect, host, json }: CommandContext, { args: [what], options }: CommandCall, paused: boolean): Promise<void> {
  const { client } = await connect();
  const target = await pauseTarget(client, { what, all: flagOption(options, "all") });
  const { changed } = await client.call(paused ? api.pause : api.resume, { body: { target } });
  const named = target.kind === "all" ? "everything" : `${target.kind}:${"id" in target ? target.id : target.name}`;
  const state = paused ? "paused" : "resumed";
  host.output.out(json ? `${JSON.stringify({ changed })}\n` : `${named} is ${changed === 0 ? `${state} already` : state}\n`);
}
