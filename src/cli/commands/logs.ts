import { WakefulError } from "../../domain/errors.ts";
import { api } from "../../protocol/api/index.ts";
import type { Client } from "../../protocol/client.ts";
import { type CommandCall, type CommandContext, flagOption, textOption } from "../command.ts";
import { parseReference, resolveReference } from "../references.ts";

/** The command's standard output and standard error go to the same streams here. */
export async function run({ connect, host, json }: CommandContext, { args: [what = ""], options }: CommandCall): Promise<void> {
  const reference = parseReference(what, "job");
  const tail = textOption(options, "tail");
  if (tail !== undefined && !/^[0-9]{1,15}$/.test(tail)) throw new WakefulError("bad_request", `--tail ${tail} must be a number of bytes.`);
  const { client } = await connect({ offline: true });
  const runId = await runOf(client, await resolveReference(client, reference));
  const query = {
    follow: flagOption(options, "follow"),
    raw: flagOption(options, "raw"),
    tailBytes: tail,
  };
  const copy = async (stream: "stdout" | "stderr", write: (text: string) => void): Promise<void> => {
    const decoder = new TextDecoder();
    for await (const chunk of await client.stream(api.runLogs, { params: { id: runId }, query: { ...query, stream } }))
      write(decoder.decode(chunk, { stream: true }));
  };
  if (json) {
    const texts = { stdout: "", stderr: "" };
    await Promise.all((["stdout", "stderr"] as const).map((stream) => copy(stream, (text) => void (texts[stream] += text))));
    host.output.out(`${JSON.stringify({ runId, ...texts })}\n`);
    return;
  }
  let rest = "";
  await Promise.all([
    copy("stdout", (text) => host.output.out(text)),
    copy("stderr", (text) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) host.output.err(line);
    }),
  ]);
  if (rest !== "") host.output.err(rest);
}

async function runOf(client: Client, { kind, id }: { readonly kind: "item" | "job" | "run"; readonly id: number }): Promise<number> {
  if (kind === "run") return id;
  const { runs } = kind === "job" ? await client.call(api.getJob, { params: { id } }) : await client.call(api.getItem, { params: { id } });
  const newest = runs.toSorted((a, b) => a.id - b.id).at(-1);
  if (newest === undefined)
    throw new WakefulError("not_found", `${kind}:${id} has not been run yet; \`wakeful why ${kind}:${id}\` tells what it waits for.`);
  return newest.id;
}
