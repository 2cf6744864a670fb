import { readFileSync } from "node:fs";
import { messageOf, WakefulError } from "../../domain/errors.ts";
import { api } from "../../protocol/api/index.ts";
import { type CommandCall, type CommandContext, textOption } from "../command.ts";

export async function run({ connect, host, json }: CommandContext, { args: [pipeline = ""], options }: CommandCall): Promise<void> {
  const inputText = textOption(options, "input");
  const body = {
    key: textOption(options, "key"),
    label: textOption(options, "label"),
    repo: textOption(options, "repo"),
    branch: textOption(options, "branch"),
    input: inputText === undefined ? undefined : parsedInput(inputText),
  };
  const { client } = await connect();
  const { item, created } = await client.call(api.submitItem, { params: { name: pipeline }, body });
  if (json) host.output.out(`${JSON.stringify({ item, created })}\n`);
  else
    host.output.out(
      `item:${item.id} (${item.pipeline}/${item.key}) ${created ? `entered stage ${item.stage}` : `exists already and is ${item.state} in stage ${item.stage}`}\n`,
    );
}

function parsedInput(text: string): unknown {
  const path = text.startsWith("@") ? text.slice(1) : undefined;
  let json: string;
  try {
    json = path === undefined ? text : readFileSync(path === "-" ? 0 : path, "utf8");
  } catch (cause) {
    throw new WakefulError("bad_request", `Cannot read the input: ${messageOf(cause)}`, { cause });
  }
  try {
    return JSON.parse(json);
  } catch (cause) {
    throw new WakefulError("bad_request", `The input is not JSON: ${messageOf(cause)}. A text is JSON in double quotes.`, { cause });
  }
}
