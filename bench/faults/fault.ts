import type { Chance } from "./chance.ts";
import type { ExplainedEnds } from "./invariants.ts";
import type { Load } from "./load.ts";
import type { Need } from "./needs.ts";
import type { Part } from "./points.ts";
import type { SetUp } from "./set-up.ts";
import type { World } from "./world.ts";

/** Where a fault happens: the world, its load, the draws of its point, and what the fault tells. */
export interface Scene {
  readonly world: World;
  readonly chance: Chance;
  /** What is handed in besides. */
  readonly load: Load;
  /** This run was hit by the fault itself. */
  readonly harm: (runId: number) => void;
  /** Something that must not have happened, seen by the fault itself. */
  readonly find: (what: string) => void;
  /** What was done, for who reads a failing point: "KILL to process 12". */
  readonly note: (what: string) => void;
}

/** Ends what was begun. Called once, also when the point is given up. */
export type EndFault = () => Promise<void>;

/** One kind of fault, as it can be made in processes, files, sockets and servers here. */
export interface Fault {
  /** Unique; a failing point prints it. */
  readonly name: string;
  /** Rows of the list of faults, such as `F-8.1`; none for a plain kill. */
  readonly rows: readonly string[];
  readonly setUps: readonly SetUp[];
  readonly needs: readonly Need[];
  readonly hits: readonly Part[];
  /** Undefined: ends no run. */
  readonly commands?: ExplainedEnds | undefined;
  readonly handlers?: ExplainedEnds | undefined;
  /** How long it lasts, drawn between the two, in milliseconds. */
  readonly lastsMs: readonly [number, number];
  /** How much longer at default limits: what must outlast one of them. */
  readonly longerByDefaultMs?: number;
  /** From its end until new work starts, in milliseconds at default limits. Default: 5,000. */
  readonly recoversWithinMs?: number;
  /** Never one of two at once. */
  readonly alone?: boolean;
  begin(scene: Scene): Promise<EndFault>;
}

/** A fault that has nothing to take back. */
export const nothingToEnd: EndFault = () => Promise.resolve();
