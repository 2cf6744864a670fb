import type { CommandCall, CommandContext } from "../command.ts";
import { setPaused } from "./pause.ts";

export const run = (context: CommandContext, call: CommandCall): Promise<void> => setPaused(context, call, false);
