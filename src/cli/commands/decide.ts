import { WakefulError } from "../../domain/errors.ts";
import { api } from "../../protocol/api/index.ts";
import { duplicateDecisions } from "../../protocol/api/rows.ts";
import type { CommandCall, CommandContext } from "../command.ts";

export async function run({ connect, host, json }: CommandContext, { args: [duplicate = "", given = ""] }: CommandCall): Promise<void> {
  const id = /^(?:duplicate:)?([1-9][0-9]{0,14})$/.exec(duplicate)?.[1];
  if (id === undefined)
    throw new WakefulError("bad_request", `"${duplicate}" is no duplicate: write its number from \`wakeful ls duplicates\`.`);
  const decision = duplicateDecisions.find((each) => each === given.replaceAll("-", "_"));
  if (decision === undefined) throw new WakefulError("bad_request", `"${given}" is no decision: write ${duplicateDecisions.join(", ")}.`);
  const { client } = await connect();
  await client.call(api.decideDuplicate, { params: { id }, body: { decision } });
  host.output.out(json ? `${JSON.stringify({ done: true })}\n` : `duplicate ${id}: ${decision}; the intake carries it out\n`);
}
