import type { ItemRow, ItemsStore } from "../store/port/items.ts";
import type { ClaimedRun } from "../store/port/runs.ts";

/**
 * What a command gets on stdin and in `WAKEFUL_INPUT_FILE`: the item, its own input, and the output of the stage before.
 * A plain task gets its payload under `input`.
 */
export async function stageInput(
  items: Pick<ItemsStore, "visits">,
  claimed: Pick<ClaimedRun, "payload">,
  item: ItemRow | undefined,
): Promise<string> {
  if (item === undefined) return JSON.stringify({ input: parse(claimed.payload), previous: null });
  const passed = (await items.visits(item.id)).filter((visit) => visit.counts && visit.state === "passed");
  return JSON.stringify({
    item: { key: item.key, pipeline: item.pipeline, label: item.label },
    input: parse(item.input),
    previous: parse(passed.at(-1)?.output ?? null),
  });
}

function parse(text: string | null): unknown {
  return text === null ? null : JSON.parse(text);
}
