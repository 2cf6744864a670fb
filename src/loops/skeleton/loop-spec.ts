import type { LoopName } from "../../config/loop-names.ts";
import type { LoopSwitch } from "../../config/loop-settings.ts";
import type { DurationMs } from "../../domain/time.ts";
import type { StoreHint } from "../../store/port/store.ts";
import type { Loop } from "./loop.ts";

/**
 * Which daemon of a shared store does the work. `host`: each for its own host. `claimed`: the one that has claimed the row. `guarded`: any,
 * and the flip decides.
 */
export type LoopKind = "host" | "claimed" | "guarded";

/** What a loop is built from: at least its settings, which are read at each tick. */
export interface LoopParts {
  readonly settings: () => unknown;
}

/** Everything about a loop that its owner needs, as one value. */
export interface LoopSpec<Name extends LoopName, Parts extends LoopParts, Built extends Loop<Name> = Loop<Name>> {
  readonly name: Name;
  readonly kind: LoopKind;
  /** Read once, at the start. */
  readonly intervalMs: (settings: ReturnType<Parts["settings"]>) => DurationMs;
  /** The kill switch, read at each tick. */
  readonly enabled: (settings: ReturnType<Parts["settings"]>) => boolean;
  /** The settings shown when the loop starts. Absent: none. */
  readonly tells?: ((settings: ReturnType<Parts["settings"]>) => Readonly<Record<string, unknown>>) | undefined;
  /** The changes that wake it early. Hints are never needed: every loop also ticks by itself. */
  readonly wokenBy: readonly StoreHint[];
  readonly build: (parts: Parts) => Built;
}

export type AnyLoopSpec = LoopSpec<LoopName, never>;

/** The loops of a list of specs, by name. */
export type LoopsBy<Specs extends readonly AnyLoopSpec[]> = {
  readonly [Spec in Specs[number] as Spec["name"]]: ReturnType<Spec["build"]>;
};

/** The loop's own switch in `loops`. */
export const ownSwitch =
  <Name extends LoopName>(name: Name): ((settings: LoopSwitch<Name>) => boolean) =>
  ({ loops }) =>
    loops[name].enabled;

/** A list of all loops. It does not compile while it lacks a name of `config/loop-names.ts`; a spec can have no other name. */
export const everyLoop = <const Specs extends readonly AnyLoopSpec[]>(
  specs: [LoopName] extends [Specs[number]["name"]] ? Specs : { readonly missing: Exclude<LoopName, Specs[number]["name"]> },
): Specs => specs as Specs;
