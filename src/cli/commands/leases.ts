import type { CommandContext } from "../command.ts";
import * as ls from "./ls.ts";

export const run = (context: CommandContext): Promise<void> => ls.run(context, { args: ["leases"], options: {} });
