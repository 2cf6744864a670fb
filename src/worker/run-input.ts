import type { ClaimedWork } from "./worker-backend.ts";

/**
 * What a command gets in `WAKEFUL_INPUT_FILE`: the item, its own input, and the output of the stage before.
 * A plain task gets its payload under `input`.
 */
export function inputOf({ item, payload }: Pick<ClaimedWork, "item" | "payload">): string {
  if (item === undefined) return JSON.stringify({ input: parse(payload), previous: null });
  const { key, pipeline, label, input, previous } = item;
  return JSON.stringify({ item: { key, pipeline, label }, input: parse(input), previous: parse(previous) });
}

function parse(text: string | null): unknown {
  return text === null ? null : JSON.parse(text);
}
