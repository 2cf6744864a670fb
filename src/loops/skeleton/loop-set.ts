import type { LoopName } from "../../config/loop-names.ts";
import type { DurationMs } from "../../domain/time.ts";
import type { Store, StoreHint } from "../../store/port/store.ts";
import type { Loop, LoopSnapshot, TickReport } from "./loop.ts";
import { LoopRunner, type LoopRunnerDeps } from "./loop-runner.ts";
import type { LoopParts, LoopSpec, LoopsBy } from "./loop-spec.ts";
import type { LoopWaker } from "./loop-waker.ts";

/** One loop of a set. */
export interface LoopMember {
  readonly runner: LoopRunner;
  readonly wokenBy: readonly StoreHint[];
}

/** All loops of one process: started, woken, shown and stopped together. */
export class LoopSet {
  readonly #members: ReadonlyMap<LoopName, LoopMember>;
  readonly #waker: Pick<LoopWaker, "onWake">;
  #stopListening: readonly (() => void)[] = [];

  constructor(members: readonly LoopMember[], { waker }: { readonly waker: Pick<LoopWaker, "onWake"> }) {
    this.#members = new Map(members.map((member) => [member.runner.loop.name, member]));
    this.#waker = waker;
    // Two loops of one name would repair the same things twice, and only one would be seen.
    if (this.#members.size !== members.length) throw new Error("Two loops have the same name.");
  }

  start(store: Pick<Store, "onHint">): void {
    const members = [...this.#members.values()];
    for (const { runner } of members) runner.start();
    if (this.#stopListening.length > 0) return;
    this.#stopListening = [
      store.onHint((hint) => {
        for (const { runner, wokenBy } of members) if (wokenBy.includes(hint)) runner.wake();
      }),
      this.#waker.onWake((name) => this.#members.get(name)?.runner.wake()),
      ...members.flatMap(({ runner }) => runner.loop.watchHints?.(() => runner.wake()) ?? []),
    ];
  }

  /** Raises an alert for each loop whose tick does not end. */
  checkLate(): void {
    for (const { runner } of this.#members.values()) runner.checkLate();
  }

  snapshots(): readonly LoopSnapshot[] {
    return [...this.#members.values()].map(({ runner }) => runner.snapshot());
  }

  async runOnce(name: LoopName, options: { readonly dryRun: boolean }): Promise<TickReport | undefined> {
    return this.#members.get(name)?.runner.tickOnce(options);
  }

  async stop(timeoutMs: DurationMs): Promise<void> {
    for (const stop of this.#stopListening) stop();
    this.#stopListening = [];
    await Promise.all([...this.#members.values()].map(({ runner }) => runner.stop(timeoutMs)));
  }
}

/** The loops of a list of specs, each with its own runner. Nothing ticks before {@link LoopSet.start}. */
export function buildLoops<Parts extends LoopParts, const Specs extends readonly LoopSpec<LoopName, Parts>[]>(
  specs: Specs,
  parts: Parts,
  deps: LoopRunnerDeps & { readonly waker: Pick<LoopWaker, "onWake"> },
): { readonly set: LoopSet; readonly loops: LoopsBy<Specs> } {
  const settings = (): ReturnType<Parts["settings"]> => parts.settings() as ReturnType<Parts["settings"]>;
  const loops = specs.map((spec) => spec.build(parts));
  const members = specs.map(({ intervalMs, enabled, tells, wokenBy }, at): LoopMember => {
    const loop = loops[at] as Loop;
    const how = { intervalMs: intervalMs(settings()), enabled: () => enabled(settings()), settings: tells?.(settings()) };
    return { runner: new LoopRunner(loop, how, deps), wokenBy };
  });
  // By name, as the types of the specs say that they are.
  const byName = Object.fromEntries(loops.map((loop) => [loop.name, loop])) as LoopsBy<Specs>;
  return { set: new LoopSet(members, deps), loops: byName };
}
