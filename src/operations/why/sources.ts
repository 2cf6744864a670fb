import type { LoopSnapshot } from "../../loops/skeleton/loop.ts";
import type { PipelineRegistry } from "../../pipelines/registry.ts";
import type { Store } from "../../store/port/store.ts";
import type { SettingsEditor } from "../change-settings.ts";
import type { Operations } from "../operations.ts";

/** What the answer to `wakeful why` is gathered from. */
export interface Sources {
  readonly store: Store;
  readonly registry: PipelineRegistry;
  readonly operations: Operations;
  readonly loops: { snapshots(): readonly LoopSnapshot[] };
  /** What loops read at each tick. */
  readonly settings: SettingsEditor;
  /** Whether new work is taken, and what is in the way. */
  readonly readiness: () => { readonly ready: boolean; readonly reasons: readonly string[] };
}
