import type { ResultReader } from "../gates/result-reader.ts";
import { ExitDecider, type ExitDeciderDeps } from "./exit-decider.ts";
import { Finaliser, type FinaliserDeps } from "./finaliser.ts";
import { RunEnder, type RunEnderDeps } from "./run-ender.ts";

export interface SettlingDeps extends RunEnderDeps {
  readonly store: RunEnderDeps["store"] & { readonly items: ExitDeciderDeps["versions"] & FinaliserDeps["items"] };
  readonly reader: ResultReader;
}

/** How the runs of one process end, whoever notices. */
export interface Settling {
  readonly ender: RunEnder;
  readonly reader: ResultReader;
  readonly decider: ExitDecider;
  readonly finaliser: Finaliser;
}

export function createSettling({ reader, ...deps }: SettlingDeps): Settling {
  const { store, registry, random } = deps;
  const now = () => store.now();
  const decider = new ExitDecider({ registry, versions: store.items, random, now });
  return { ender: new RunEnder(deps), reader, decider, finaliser: new Finaliser({ items: store.items, reader, decider, now }) };
}
