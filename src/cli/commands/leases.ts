import type { CommandCall, CommandContext } from "../command.ts";
import * as ls from "./ls.ts";

export const run = (context: CommandContext, { options }: CommandCall): Promise<void> => ls.run(context, { args: ["leases"], options });
