import { WakefulError } from "../../domain/errors.ts";
import { api } from "../../protocol/api/index.ts";
import { type CommandCall, type CommandContext, flagOption } from "../command.ts";
import { parseReference, resolveReference } from "../references.ts";

export async function run({ connect, host, json }: CommandContext, { args: [what = ""], options }: CommandCall): Promise<void> {
  const reference = parseReference(what, "job");
  const { client } = await connect();
  const { kind, id } = await resolveReference(client, reference);
  let jobId = id;
  if (kind === "run") throw new WakefulError("bad_request", "Jobs are held, runs are not; name the job or its item.");
  if (kind === "item") {
    const { jobs } = await client.call(api.getItem, { params: { id } });
    const held = jobs.find(({ state }) => state === "held") ?? jobs.findLast(({ blockedBy }) => blockedBy !== null);
    if (held === undefined) throw new WakefulError("conflict", `item:${id} has no held job.`);
    jobId = held.id;
  }
  const force = flagOption(options, "force");
  const answer = await client.call(api.unholdJob, { params: { id: jobId }, body: { force } });
  // With force a job that was not held is only unblocked, whatever else it has left.
  const said = force ? "waits for no earlier attempt any more; if it was held, it has one more attempt" : "has one more attempt";
  host.output.out(json ? `${JSON.stringify(answer)}\n` : `job:${jobId} ${said}\n`);
}
