import type { DurationText, SizeText } from "../../domain/durations.ts";
import type { Json } from "../definition.ts";
import type { StageHandler } from "../handler.ts";
import type { GateInput } from "./gate.ts";

/** A pipeline as written in YAML or TypeScript; omitted keys take their defaults. */
export interface PipelineInput<Stage extends string = string> {
  readonly intake?: IntakeInput;
  /** The stage that a new item enters; by default the one that no `next` names. */
  readonly first?: NoInfer<Stage>;
  readonly stages: { readonly [Name in Stage]: StageInput<NoInfer<Stage>> };
}

export interface StageInput<Next extends string = string> {
  readonly run: RunInput;
  /** Declared, even empty: the stage proves progress, and is hung without. */
  readonly heartbeat?: { readonly timeout?: DurationText; readonly from?: "file" | "output" };
  /** The age at which a run is stopped. Default: none but `maxRunning`. */
  readonly timeout?: DurationText;
  /** The age at which a run is given up whatever the evidence. Default: timeout + finalizeGrace + gate.patience + 60 s, else reaper.maxRunningMs (24 h). */
  readonly maxRunning?: DurationText;
  /** 1 to 1000; default 3. */
  readonly attempts?: number;
  /** Losses (not failures) that are forgiven. Default: a loss spends an attempt. */
  readonly maxLosses?: number;
  /** Default `fail`. */
  readonly onExhausted?: "fail" | "hold";
  /** Default 1 s to 5 min, doubling. */
  readonly retry?: { readonly min?: DurationText; readonly max?: DurationText; readonly factor?: number };
  readonly exitCodes?: { readonly retryOn?: readonly number[]; readonly failOn?: readonly number[]; readonly holdOn?: readonly number[] };
  /** Runs at once over all workers. Default: no limit. */
  readonly concurrency?: number;
  /** Shares the limit with every stage of the same key. Default: the stage's own. */
  readonly concurrencyKey?: string;
  readonly gate?: GateInput & { readonly patience?: DurationText; readonly timeout?: DurationText };
  /** Default: reaper.finalizeGraceMs (5 min). */
  readonly finalizeGrace?: DurationText;
  /** `input`: the command reads its input as standard input too. Default `none`: it reads nothing there. */
  readonly stdin?: "none" | "input";
  /** Default `stop`. */
  readonly strays?: "stop" | "leave";
  readonly log?: { readonly maxBytes?: SizeText | number };
  /** `{ file }` reads the value from a file when the command starts. */
  readonly env?: Readonly<Record<string, string | { readonly file: string }>>;
  readonly cwd?: string;
  /** What a worker of another host does to the command when it is cut off; no effect until there are such workers. Default `freeze`. */
  readonly fence?: "freeze" | "kill" | "none";
  /** -1000 to 1000, lower first, as with the priority of processes; default 0. */
  readonly priority?: number;
  readonly labels?: { readonly agent?: string; readonly repo?: string };
  /** The stage that follows. Default: none, the item is done. */
  readonly next?: Next | null;
}

export interface CommandRunInput {
  /** Program and arguments; no shell is in between. */
  readonly command: readonly string[];
}

export interface HandlerRun {
  /** The handler, or the name under which a worker knows it. */
  readonly handler: string | StageHandler;
  /** The name of a handler given as a function; `<pipeline>.<stage>` by default. */
  readonly name?: string;
}

export type RunInput = CommandRunInput | HandlerRun;

export interface IntakeInput {
  readonly watch: string;
  /** Default `["*"]`. */
  readonly match?: readonly string[];
  readonly profile?: Json;
  /** Default: intake.maxBytes of the configuration (500 MiB). */
  readonly maxBytes?: SizeText | number;
  /** Default 2 s. */
  readonly minStable?: DurationText;
  /** Hexadecimal first bytes, one text or several. */
  readonly signature?: string | readonly string[];
  /** Default: intake.diskFreeFactor of the configuration (2). */
  readonly diskFreeFactor?: number;
  /** Default: `error` beside the watched folder. */
  readonly errorDir?: string;
  /** Default: `archive` beside the watched folder. */
  readonly archiveDir?: string;
  /** Default `hold`. */
  readonly duplicates?: "hold" | "discard" | "use_existing" | "reprocess";
}
