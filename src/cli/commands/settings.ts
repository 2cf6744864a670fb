import { flatSettings } from "../../config/live-settings.ts";
import { WakefulError } from "../../domain/errors.ts";
import { api } from "../../protocol/api/index.ts";
import type { CommandCall, CommandContext } from "../command.ts";
import { tableText } from "../table.ts";

/** Lists what loops read at each tick; with `key=value`, changes it until the daemon ends. */
export async function run({ connect, host, json }: CommandContext, { args }: CommandCall): Promise<void> {
  const patch = patchOf(args);
  const { client } = await connect();
  if (args.length === 0) {
    const answer = await client.call(api.getSettings, {});
    const table = tableText(
      [...flatSettings(answer.settings)],
      [
        { title: "SETTING", of: ([key]) => key },
        { title: "VALUE", of: ([, value]) => JSON.stringify(value) },
      ],
    );
    host.output.out(json ? `${JSON.stringify(answer)}\n` : table);
    return;
  }
  const answer = await client.call(api.changeSettings, { body: patch });
  if (json) host.output.out(`${JSON.stringify(answer)}\n`);
  else if (answer.changes.length === 0) host.output.out("all of it is in force already\n");
  else {
    for (const { key, from, to } of answer.changes) host.output.out(`${key}: ${JSON.stringify(from)} -> ${JSON.stringify(to)}\n`);
    host.output.out("in force from the next tick until the daemon ends; to keep it, change the configuration too\n");
  }
}

/** `reaper.deadTicks=3` and the like as one change. A value is JSON, or a text where it is none: `reaper.finalizeGraceMs=5m`. */
function patchOf(args: readonly string[]): Record<string, unknown> {
  const root: Branch = new Map();
  for (const arg of args) {
    const [, key, value] = /^([^=]+)=([^]*)$/.exec(arg) ?? [];
    if (key === undefined || value === undefined)
      throw new WakefulError("bad_request", `"${arg}" is no change: write key=value, such as reaper.deadTicks=3.`);
    const steps = key.split(".");
    let at = root;
    for (const step of steps.slice(0, -1)) {
      const next = at.get(step);
      const branch: Branch = next instanceof Map ? next : new Map();
      at.set(step, branch);
      at = branch;
    }
    at.set(steps.at(-1) ?? key, valueOf(value));
  }
  return plain(root);
}

type Branch = Map<string, unknown>;

function valueOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // A duration or a word: the daemon decides whether the setting takes it.
    return text;
  }
}

const plain = (branch: Branch): Record<string, unknown> =>
  Object.fromEntries([...branch].map(([key, value]) => [key, value instanceof Map ? plain(value as Branch) : value]));
