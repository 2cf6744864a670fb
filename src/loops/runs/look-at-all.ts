import type { RunId } from "../../domain/ids.ts";
import type { RunThresholds } from "../../liveness/run-thresholds.ts";
import type { LiveRun } from "../../store/port/runs.ts";
import type { Store } from "../../store/store.ts";

/** What a change of makes the stored instants of the next look worth nothing. */
interface JudgingSettings {
  readonly thresholds: RunThresholds;
  readonly adoption: boolean;
}

const pageSize = 500;

/**
 * When a run is next looked at was computed with the thresholds of then. After a change of them every live run is looked at once, a page a
 * tick, so that a limit made shorter counts from the tick in which it is read. Not at a start, which has much to do and brings forward in one
 * statement what is late.
 */
export class LookAtAll {
  #seen: string | undefined;
  #after: RunId | "start" | undefined;

  get underWay(): boolean {
    return this.#after !== undefined;
  }

  /** The next live runs of the round that a change began, without those that the tick looks at already; none when there is no round. */
  async next(
    deps: { readonly store: Pick<Store, "runs">; readonly settings: () => JudgingSettings },
    already: readonly LiveRun[],
  ): Promise<readonly LiveRun[]> {
    const { thresholds, adoption } = deps.settings();
    const settings = JSON.stringify([thresholds, adoption]);
    if (this.#seen !== undefined && this.#seen !== settings) this.#after = "start";
    this.#seen = settings;
    if (this.#after === undefined) return [];
    const page = await deps.store.runs.listAllLive({ limit: pageSize, ...(this.#after === "start" ? {} : { after: this.#after }) });
    this.#after = page.length < pageSize ? undefined : page.at(-1)?.id;
    const looked = new Set(already.map(({ id }) => id));
    return page.filter(({ id }) => !looked.has(id));
  }
}
