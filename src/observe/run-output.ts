import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { hasCode, messageOf } from "../domain/errors.ts";
import { isNestedTooDeep, nestingRule } from "../domain/json-nesting.ts";
import { runFiles } from "../processes/run-folder/run-files.ts";
import type { UnstartedCommand } from "./unstarted-command.ts";

/** Most bytes a command may return: 1 MiB. */
export const maxOutputBytes = 1_048_576;

export type RunOutput =
  | { readonly kind: "none" }
  | { readonly kind: "json"; readonly text: string }
  | { readonly kind: "bad"; readonly why: string }
  | UnstartedCommand;

/**
 * Reads what a command left in `WAKEFUL_OUTPUT_FILE`. An empty or missing file is no output; anything but JSON of a bounded size is bad.
 */
export async function readRunOutput(runDir: string): Promise<RunOutput> {
  const path = runFiles(runDir).output;
  let file: Awaited<ReturnType<typeof open>>;
  try {
    // A command may put a FIFO, a device or a link here, which would block the finaliser or lead it elsewhere.
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (thrown) {
    if (hasCode(thrown, "ENOENT")) return { kind: "none" };
    return { kind: "bad", why: `its output file cannot be read: ${messageOf(thrown)}` };
  }
  try {
    const stat = await file.stat();
    if (!stat.isFile()) return { kind: "bad", why: "its output file is not a regular file" };
    if (stat.size === 0) return { kind: "none" };
    if (stat.size > maxOutputBytes) return { kind: "bad", why: `its output has ${stat.size} bytes, at most ${maxOutputBytes} are kept` };
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.readFile());
    if (isNestedTooDeep(text)) return { kind: "bad", why: `its output is too deep: ${nestingRule}` };
    // Parsed and written again, so that the stored text is one line of JSON without surprises such as duplicate keys.
    return { kind: "json", text: JSON.stringify(JSON.parse(text)) };
  } catch (thrown) {
    return { kind: "bad", why: `its output is not JSON: ${messageOf(thrown)}` };
  } finally {
    await file.close();
  }
}
