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
  /** Those of them that are due or suspect. What is remembered of any other run is of one that has ended. */
  readonly live: ReadonlySet<RunId>;
  /** There are others to look at, which the next tick should do at once. */
  readonly more: boolean;
}

const pageSize = 500;

/** Which runs a tick of the job-reaper looks at: those that are due, those that look dead, and after a change of settings all of them. */
export class DueRuns {
  readonly #deps: DueRunsDeps;
  readonly #all = new LookAtAll();
  /** Whether no stored check is later than the thresholds of this start allow. */
  #checksAreOurs = false;

  constructor(deps: DueRunsDeps) {
    this.#deps = deps;
  }

  /** @param remembered - runs of which an earlier tick remembers something. */
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

  /** The daemon before this one may have set a run's next look by longer thresholds, up to a day ahead. Later changes: {@link LookAtAll}. */
  async #bringChecksForward(): Promise<void> {
    if (this.#checksAreOurs) return;
    await this.#deps.store.runs.bringChecksForward(this.#deps.settings().thresholds);
    this.#checksAreOurs = true;
  }

  /**
   * Beside what is due: the live command runs of this host whose process is not plainly alive, and all of which something is remembered,
   * so that one live answer takes a streak back.
   */
  async #suspects(due: readonly LiveRun[], remembered: Iterable<RunId>, probe: ProcessProbe): Promise<readonly LiveRun[]> {
    const { store, host, settings } = this.#deps;
    // Who looks at runs of handlers alone has no command to probe.
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

/** What a change of makes the stored instants of the next look worth nothing. */
type JudgingSettings = Pick<ReaperSettings, "thresholds" | "adoption">;

/**
 * When a run is next looked at was computed with the thresholds of then. After a change of them every live run is looked at once, a page a
 * tick, so that a limit made shorter counts from the tick in which it is read. Not at a start, which has much to do and brings forward in one
 * statement what is late.
 */
class LookAtAll {
  #seen: string | undefined;
  #after: RunId | "start" | undefined;

  get underWay(): boolean {
    return this.#after !== undefined;
  }

  /** The next live runs of the round that a change began, without those that the tick looks at already; none when there is no round. */
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
