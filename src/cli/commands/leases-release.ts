import { WakefulError } from "../../domain/errors.ts";
import { api } from "../../protocol/api/index.ts";
import { type CommandCall, type CommandContext, textOption } from "../command.ts";

/** Sends the fencing number that it saw, so that a lease granted anew in between stays with its new holder. */
export async function run({ connect, host, json }: CommandContext, { args: [name = ""], options }: CommandCall): Promise<void> {
  const { client } = await connect();
  const { leases } = await client.call(api.listLeases, { query: { limit: 500 } });
  const lease = leases.find((each) => each.name === name);
  if (lease === undefined) throw new WakefulError("not_found", `There is no lease "${name}".`, { details: { lease: name } });
  if (lease.state === "free") throw new WakefulError("conflict", `Lease "${name}" is free already.`, { details: { lease: name } });
  const reason = textOption(options, "reason") ?? "released by a person";
  await client.call(api.releaseLease, { params: { name }, body: { fencing: lease.fencing, reason } });
  host.output.out(
    json
      ? `${JSON.stringify({ done: true, fencing: lease.fencing })}\n`
      : `lease ${name} is released; fencing number ${lease.fencing} is void\n`,
  );
}
