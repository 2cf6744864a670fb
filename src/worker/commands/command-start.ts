import { isWakefulError, messageOf } from "../../domain/errors.ts";
import { asInstant, type Instant } from "../../domain/time.ts";
import { itemDirOf } from "../../files/data-paths.ts";
import type { RunOutcome } from "../../liveness/retry-contract.ts";
import type { StartedWrapper } from "../../processes/wrapper/wrapper.ts";
import type { ItemRow } from "../../store/port/items.ts";
import type { ClaimedRun, RunLimits } from "../../store/port/runs.ts";
import type { CommandRunDeps } from "./command-run-deps.ts";
import type { OwnedRun } from "./owned-run.ts";
import { committedOrAbandoned, prepareCommand } from "./prepare-command.ts";

interface CommandStart {
  readonly item: ItemRow | undefined;
  readonly workDir: string | undefined;
  readonly limits: RunLimits;
}

/**
 * Brings the wrapper of a claimed run to the point where it waits for `go`, and commits the start. Undefined: the store has refused it, the
 * run is not ours any more, and the wrapper withdraws.
 */
export async function startCommand(
  deps: CommandRunDeps,
  claimed: ClaimedRun,
  run: OwnedRun,
  { item, workDir, limits }: CommandStart,
): Promise<{ readonly wrapper: StartedWrapper; readonly startedAt: Instant } | undefined> {
  const { store, firstCheckAt } = deps;
  const { stage, runDir, fence } = run;
  const wrapper = await prepareCommand(deps, claimed, { stage, item, runDir, workDir });
  // What preparing took is not the command's: its limits count from here.
  const startedAt = store.now();
  const [answer] = await committedOrAbandoned(wrapper, () =>
    store.runs.start([{ ...fence, startedAt, wrapper: wrapper.identity, limits, checkAt: asInstant(firstCheckAt(startedAt, limits)) }]),
  );
  if (answer?.kind === "ok" || answer?.kind === "already") return { wrapper, startedAt };
  wrapper.abandon();
  return undefined;
}

/** Settles a run that could not be started: nothing of its command has run. Throws when the store does not take it. */
export async function settleFailedStart(
  store: CommandRunDeps["store"],
  { run, thrown, onAnswered }: { readonly run: OwnedRun; readonly thrown: unknown; readonly onAnswered: () => void },
): Promise<void> {
  const reused = isWakefulError(thrown) && thrown.code === "run_dir_exists";
  if (reused) await store.upkeep.raiseEpoch(`the folder of run ${run.runId} exists already`);
  const live = await run.live();
  if (live === undefined || live.state !== "reserved") return;
  const unspent = reused || (isWakefulError(thrown) && thrown.retryable);
  const reason = `could not be started: ${messageOf(thrown)}`;
  // Bounded like any other start that fails, or a missing folder would make the job go round at full speed for ever.
  const outcome: RunOutcome = unspent ? { kind: "never_started", reason, bySessionDeath: !reused } : { kind: "failed", reason };
  await run.end(live, { outcome, reason: reused ? "run_dir_exists" : "start_failed" }, onAnswered);
}

/** The item that a run is of, if any, and where its files are. */
export async function workOf(
  deps: CommandRunDeps,
  itemId: ClaimedRun["itemId"],
): Promise<{ readonly item: ItemRow | undefined; readonly workDir: string | undefined }> {
  const item = itemId === null ? undefined : await deps.store.items.get(itemId);
  return { item, workDir: item === undefined ? undefined : itemDirOf(deps.paths, item.dir) };
}
