import { api } from "../../protocol/api/index.ts";
import { type CommandCall, type CommandContext, flagOption } from "../command.ts";

export async function run({ connect, host, json }: CommandContext, { options }: CommandCall): Promise<number> {
  const dryRun = flagOption(options, "dryRun");
  const { client } = await connect();
  const { report } = await client.call(api.runLoop, { params: { name: "job-reaper" }, query: { dryRun }, body: {} });
  if (json) host.output.out(`${JSON.stringify(report)}\n`);
  else {
    for (const line of report.would ?? []) host.output.out(`would ${line}\n`);
    const did = dryRun ? `${report.would?.length ?? 0} would be settled` : `${report.settled} settled, ${report.lost} settled by others`;
    host.output.out(`${report.seen} looked at, ${did}, ${report.failed} failed\n`);
  }
  return report.failed === 0 ? 0 : 1;
}
