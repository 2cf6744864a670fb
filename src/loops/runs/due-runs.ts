import type { RunId } from "../../domain/ids.ts";
import type { Host } from "../../processes/probe/host.ts";
import type { ProcessProbe } from "../../processes/probe/identity.ts";
import type { LiveRun } from "../../store/port/runs.ts";
import type { Store } from "../../store/port/store.ts";
import type { TickContext } from "../skeleton/loop.ts";
import type { ReaperSettings } from "./reaper-settings.ts";

export interface DueRunsDeps {
  readonly store: Pick<Store, "runs">;
  readonly host: Pick<Host, "identity">;
  /** Read at each tick. */
  readonly settings: () => JudgingSettings & Pick<ReaperSettings, "whose">;
}

export interface RunsOfTick {
  readonly runs: readonly LiveRun[];
  /** Those that are due or suspect. A run that is remembered and not in this set has ended. */
  readonly live: ReadonlySet<RunId>;
  /** The next tick should follow at once, because more runs are due. */
  readonly more: boolean;
}

const pageSize = 500;

/** Chooses the runs that a tick of the job-reaper judges: due ones, those that look dead, and all of them after a change of settings. */
export class DueRuns {
  readonly #deps: DueRunsDeps;
  readonly #all = new LookAtAll();
  /** Whether every stored check is within the thresholds of this start. */
  #checksAreOurs = false;

  constructor(deps: DueRunsDeps) {
    this.#deps = deps;
  }

  /** @param remembered - runs that an earlier tick remembers something about. */
  async next(remembered: Iterable<RunId>, probe: ProcessProbe, context: TickContext): Promise<RunsOfTick> {
    if (!context.dryRun) await this.#bringChecksForward();
    const due = await this.#deps.store.runs.listDue({ ...this.#deps.settings().whose, now: context.now, limit: pageSize });
    const suspects = await this.#suspects(due, remembered, probe);
    const known = [...due, ...suspects];
    const others = context.dryRun ? [] : await this.#all.next(this.#deps, known);
    return {
      runs: [...known, ...others],
      live: new Set(known.map((run) => run.id)),
      more: due.length === pageSize || this.#all.underWay,
    };
  }

  /** An earlier daemon may have stored checks up to a day ahead, by longer thresholds. {@link LookAtAll} handles later changes. */
  async #bringChecksForward(): Promise<void> {
    if (this.#checksAreOurs) return;
    await this.#deps.store.runs.bringChecksForward(this.#deps.settings().thresholds);
    this.#checksAreOurs = true;
  }

  /** Adds this host's command runs whose process is not plainly alive, and all remembered runs: one living observation resets a streak. */
  async #suspects(due: readonly LiveRun[], remembered: Iterable<RunId>, probe: ProcessProbe): Promise<readonly LiveRun[]> {
    const { store, host, settings } = this.#deps;
    // A process that looks after handler runs alone has no command to probe.
    const local = settings().whose?.only === "plain" ? [] : await store.runs.listLocalProcesses(host.identity.hostId);
    const lives = probe.observeMany(local.map(({ process }) => process));
    const isDue = new Set(due.map((run) => run.id));
    const wanted = new Set(remembered);
    for (const [at, { runId }] of local.entries()) if (lives[at]?.kind !== "alive") wanted.add(runId);
    const ids = [...wanted].filter((runId) => !isDue.has(runId));
    const runs: LiveRun[] = [];
    for (let from = 0; from < ids.length; from += pageSize) runs.push(...(await store.runs.listLive(ids.slice(from, from + pageSize))));
    return runs;
  }
}

/** Settings whose change makes the stored check times worthless. */
type JudgingSettings = Pick<ReaperSettings, "thresholds" | "adoption">;

/**
 * Judges every live run once after thresholds change, a page per tick, because stored check times use the old ones. A start brings late
 * checks forward in one statement instead.
 */
class LookAtAll {
  #seen: string | undefined;
  #after: RunId | "start" | undefined;

  get underWay(): boolean {
    return this.#after !== undefined;
  }

  /** The next live runs of the round that a change began, without those that the tick judges already; none without a round. */
  async next({ store, settings: read }: Pick<DueRunsDeps, "store" | "settings">, already: readonly LiveRun[]): Promise<readonly LiveRun[]> {
    const { thresholds, adoption, whose } = read();
    const settings = JSON.stringify([thresholds, adoption]);
    if (this.#seen !== undefined && this.#seen !== settings) this.#after = "start";
    this.#seen = settings;
    if (this.#after === undefined) return [];
    const after = this.#after === "start" ? undefined : this.#after;
    const page = await store.runs.listAllLive({ ...whose, limit: pageSize, after });
    this.#after = page.length < pageSize ? undefined : page.at(-1)?.id;
    const looked = new Set(already.map(({ id }) => id));
    return page.filter(({ id }) => !looked.has(id));
  }
}
