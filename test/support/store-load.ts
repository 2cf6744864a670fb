/**
 * A process that puts a store under load until it is killed: `node --import tsx store-load.ts <url> <round>`. It requeues what earlier
 * rounds left, then runs jobs and items, and prints each answered write: `enqueued <id>`, `settled <job>`, `added <item>`.
 */
import type { WorkerId } from "../../src/domain/ids.ts";
import { asInstant } from "../../src/domain/time.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { ClaimedRun, Settlement } from "../../src/store/port/runs.ts";
import type { Store } from "../../src/store/port/store.ts";
import { addItem, atOnce, declareQueues, processOn, registerWorker, retried, stageEntry, startRun, success } from "./store-rows.ts";

/** Ends what dead sessions left: plain runs by the page, items' runs one by one, blocks by the proof that nothing runs here any more. */
export async function requeueLeftovers(store: Store): Promise<void> {
  for (;;) {
    const live = await store.runs.listAllLive({ limit: 200 });
    if (live.length === 0) break;
    const workerIds = [...new Set(live.flatMap((run) => (run.workerId === null ? [] : [run.workerId])))];
    const page = { workerIds, limit: 200, reason: "dead_pid", actor: "test", recoverySpreadMs: 1, random: () => 0 };
    const { settled } = await store.runs.settleLostPage(page);
    if (settled > 0) continue;
    const lost = live.map(
      (run): Settlement => ({
        runId: run.id,
        ownerEpoch: run.ownerEpoch,
        jobId: run.jobId,
        outcome: "lost",
        reason: "dead_pid",
        message: "its process is dead",
        retry: atOnce,
        actor: "test",
      }),
    );
    await store.runs.settle(lost);
  }
  const blocked = await store.runs.listBlocked({ limit: 500 });
  await store.runs.clearBlocks(blocked.map(({ jobId, run }) => ({ jobId, runId: run.id, proof: "dead", actor: "test" })));
  while ((await store.jobs.promoteDue(500)).moved > 0);
}

/** Takes up to `max` runs and brings each to its end; answers the jobs whose settlement was promised. */
export async function work(
  store: Store,
  options: { readonly workerId: WorkerId; readonly claimSeq: number; readonly max: number; readonly failing: boolean },
) {
  const { workerId, claimSeq, max } = options;
  const runs = await store.runs.claim({
    claimId: `${workerId}-${claimSeq}`,
    workerId,
    claimSeq,
    queues: ["t", "p/prep", "p/ocr"].map((name) => ({ name, limits: { maxRunningMs: 86_400_000 } })),
    max,
    startNow: Math.ceil(max / 2),
  });
  for (const run of runs) if (run.itemId !== null) await startRun(store, run);
  const settlements = runs.map((run) => settlementOf(store, run, options.failing));
  const answers = await Promise.all(settlements.map(async (settlement) => (await store.runs.settle([settlement]))[0]));
  return {
    taken: runs.length,
    done: runs.filter((_, index) => answers[index]?.kind === "ok" && settlements[index]?.outcome === "succeeded"),
  };
}

function settlementOf(store: Store, run: ClaimedRun, failing: boolean): Settlement {
  if (run.itemId !== null) {
    return success(run, {
      advance: run.queue === "p/prep" ? stageEntry("ocr", { maxAttempts: 9 }) : { kind: "finish" },
      output: `"${run.queue}"`,
    });
  }
  const startedAt = run.started ? undefined : store.now();
  if (failing && run.jobId % 7 === 0 && run.attempt === 1) return retried(run, { outcome: "released", startedAt });
  const { exitCode: _, ...plain } = success(run);
  return { ...plain, startedAt };
}

const [url, round = "0"] = process.argv.slice(2);
if (import.meta.filename === process.argv[1] && url !== undefined) await load(url, round);

async function load(storeUrl: string, prefix: string): Promise<void> {
  const store = await openStore({ url: storeUrl, clock: { now: () => asInstant(Date.now()) } });
  const tell = (...lines: readonly string[]): void => {
    for (const line of lines) process.stdout.write(`${line}\n`);
  };
  await declareQueues(store);
  await requeueLeftovers(store);
  const workerId = await registerWorker(store, `load-${prefix}`, processOn("host-a", process.pid));
  tell("ready");
  let turns = 0;
  /** It enqueues only as fast as it settles, so that the last process can finish what is left. */
  const turnForever = async (): Promise<never> => {
    for (;;) {
      turns += 1;
      const name = `${prefix}.${turns}`;
      const jobs = Array.from({ length: 1 + (turns % 20) }, (_, index) => ({ enqueueId: `${name}.${index}` }));
      await Promise.all([
        store.jobs.enqueue({ queue: "t", maxAttempts: 5, jobs }).then(() => tell(...jobs.map((job) => `enqueued ${job.enqueueId}`))),
        addItem(store, name, { maxAttempts: 9 }).then(({ id }) => tell(`added ${id}`)),
        work(store, { workerId, claimSeq: turns, max: 40, failing: true }).then(({ done }) =>
          tell(...done.map((run) => `settled ${run.jobId}`)),
        ),
      ]);
    }
  };
  await Promise.all([turnForever(), turnForever(), turnForever()]);
}
