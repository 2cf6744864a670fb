import type { Config } from "./config.ts";
import type { LiveValues } from "./live-settings.ts";
import type { LoopName } from "./loop-names.ts";

/** What loops read at each tick: the values that change while the daemon runs, and those fixed at its start. */
export type LoopSettings = LiveValues & Pick<Config, "worker" | "stop" | "recovery" | "retention" | "intake" | "baseDir">;

/** The kill switch of one loop. */
export type LoopSwitch<Name extends LoopName> = { readonly loops: Pick<LoopSettings["loops"], Name> };
