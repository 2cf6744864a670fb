import { expect, onTestFinished, test, vi } from "vitest";
import { enderOf } from "../../../test/support/ender.ts";
import { present } from "../../../test/support/present.ts";
import { claim, declareQueues, registerWorker, retried } from "../../../test/support/store-rows.ts";
import { StoreTestClock } from "../../../test/support/stores.ts";
import type { JobId } from "../../domain/ids.ts";
import { openStore } from "../../store/open-store.ts";
import type { ClaimedWork, WorkerBackend } from "../worker-backend.ts";
import { type HostVerbs, SuspectTrials, type TrialHost } from "./suspect-trials.ts";

interface Opened {
  readonly verbs: ReturnType<HostVerbs>;
  readonly onOver: () => void;
  readonly dismissed: () => number;
}

const asked = { claimId: "shared-1", claimSeq: 1, queues: [], max: 10, startNow: 10 };

/** Trials over a real store, whose processes a test plays. */
async function trials({ atOnce = 1 }: { readonly atOnce?: number } = {}) {
  const clock = new StoreTestClock();
  const store = await openStore({ url: ":memory:", clock });
  onTestFinished(() => store.close());
  await declareQueues(store);
  const [shared, own] = [await registerWorker(store, "shared"), await registerWorker(store, "own")];
  const opened: Opened[] = [];
  let answer: readonly ClaimedWork[] = [];
  const renewed: (readonly number[])[] = [];
  const worker = {
    claim: async () => answer,
    renew: async ({ held }: { readonly held: readonly number[] }) => {
      renewed.push(held);
      return { state: "live", lost: [] };
    },
    end: async (_: unknown, reports: readonly unknown[]) => reports.map(() => ({ kind: "ok" })),
    reading: async () => ({ kind: "read", at: store.now() }),
  } as unknown as WorkerBackend;
  const emit = (): void => undefined;
  const suspects = new SuspectTrials({
    store,
    ender: enderOf({ store, random: () => 0, emit }),
    tell: { emit, alert: async () => true },
    atOnce,
    open: ({ verbs, onOver }) => {
      let dismissed = 0;
      opened.push({ verbs: verbs(worker), onOver, dismissed: () => dismissed });
      const host: TrialHost = {
        start: async () => undefined,
        dismiss: () => void dismissed++,
        stop: async () => undefined,
        kill: () => undefined,
        identities: () => [],
      };
      return host;
    },
  });
  const verbs = suspects.verbsOfShared(worker);
  /** So many jobs whose first run ended for this reason, claimed again. */
  const claimedAgain = async (count: number, reason: string): Promise<readonly ClaimedWork[]> => {
    const jobs = Array.from({ length: count }, () => ({}));
    await store.jobs.enqueue({ queue: "t", jobs });
    const first = await claim(store, { workerId: shared, queues: ["t"], max: count });
    await store.runs.settle(first.map((run) => retried(run, { outcome: "released", reason, retry: { jitter: 0 } })));
    return await claim(store, { workerId: shared, queues: ["t"], max: count });
  };
  const claims = async (work: readonly ClaimedWork[]): Promise<readonly ClaimedWork[]> => {
    answer = work;
    return await present(verbs.claim)({ ...asked, workerId: shared });
  };
  const jobOf = async (id: JobId) => await store.jobs.get(id);
  return { store, clock, shared, own, suspects, opened, verbs, renewed, claimedAgain, claims, jobOf };
}

test("who was never tried, or ended otherwise, goes to the shared host, without a question for the former [F-8.7]", async () => {
  const world = await trials();
  const ofJob = vi.spyOn(world.store.runs, "ofJob");
  await world.store.jobs.enqueue({ queue: "t", jobs: [{}] });
  const fresh = await claim(world.store, { workerId: world.shared, queues: ["t"], max: 1 });
  expect(await world.claims(fresh)).toEqual(fresh);
  expect(ofJob).not.toHaveBeenCalled();
  const innocent = await world.claimedAgain(1, "host_ended");
  expect(await world.claims(innocent)).toEqual(innocent);
  expect(world.opened).toEqual([]);
});

test.each(["host_suspect", "host_died", "host_hung"])(
  "a run after %s is its own host's alone, named by the shared one until then [F-8.7]",
  async (reason) => {
    const { store, own, opened, renewed, verbs, claimedAgain, claims } = await trials();
    const [work] = await claimedAgain(1, reason);
    expect(await claims([present(work)])).toEqual([]);
    expect(await claims([present(work)]), "the same claim, asked again").toEqual([]);
    const [trial, ...more] = opened;
    expect(more).toEqual([]);
    const { runId, ownerEpoch } = present(work);
    await present(verbs.renew)({ workerId: own, held: [], claimSeqReceived: 1 });
    expect(renewed.at(-1)).toEqual([runId]);

    const { verbs: own1, dismissed } = present(trial);
    const first = { ...asked, claimId: "own-1", workerId: own };
    const moved = await present(own1.claim)(first);
    expect(moved).toMatchObject([{ runId, ownerEpoch: ownerEpoch + 1 }]);
    expect(await present(own1.claim)(first), "its answer was lost").toEqual(moved);
    expect(await present(own1.claim)({ ...first, claimId: "own-2" })).toEqual([]);
    expect(await store.runs.get(runId)).toMatchObject({ workerId: own, ownerEpoch: ownerEpoch + 1 });
    await present(verbs.renew)({ workerId: own, held: [], claimSeqReceived: 1 });
    expect(renewed.at(-1), "the shared one names it no more").toEqual([]);

    await present(own1.renew)({ workerId: own, held: [], claimSeqReceived: 0 });
    expect(renewed.at(-1), "on its way to its host").toEqual([runId]);
    await present(own1.renew)({ workerId: own, held: [runId], claimSeqReceived: 1 });
    expect(dismissed()).toBe(0);
    await present(own1.reading)(own, {} as never);
    expect(dismissed(), "its gate is read again").toBe(0);
    await present(own1.end)(own, [{}] as never);
    expect(dismissed()).toBe(1);
    await present(own1.renew)({ workerId: own, held: [], claimSeqReceived: 1 });
    expect(dismissed(), "also when its run was lost to it").toBe(2);
  },
);

test("a suspect without a place is given back unspent, still suspect, and later the more of them wait [F-8.7]", async () => {
  const { store, opened, claimedAgain, claims, jobOf } = await trials({ atOnce: 2 });
  const works = await claimedAgain(5, "host_suspect");
  expect(await claims(works)).toEqual([]);
  expect(opened).toHaveLength(2);
  const waits = works.slice(2);
  const jobs = await Promise.all(waits.map(({ jobId }) => jobOf(jobId)));
  expect(jobs.map((job) => [job?.state, job?.attempts, (job?.runAt ?? 0) - store.now()])).toEqual([
    ["scheduled", 0, 5_000],
    ["scheduled", 0, 10_000],
    ["scheduled", 0, 10_000],
  ]);
  expect(await store.runs.get(present(waits[0]).runId)).toMatchObject({ outcome: "released", reason: "host_suspect", spent: "nothing" });
  present(opened[0]).onOver();
  await vi.waitFor(async () => expect((await jobOf(present(works[0]).jobId))?.state, "its host never took it").toBe("scheduled"));
});

test("a run that ended on its way to its host is not begun, and its host goes; after a stop nothing is tried [F-8.7]", async () => {
  const { store, own, opened, suspects, claimedAgain, claims, jobOf } = await trials();
  const [work] = await claimedAgain(1, "host_died");
  await claims([present(work)]);
  await store.runs.settle([retried(present(work), { outcome: "cancelled", reason: "cancelled" })]);
  const { verbs, dismissed } = present(opened[0]);
  expect(await present(verbs.claim)({ ...asked, claimId: "own-1", workerId: own })).toEqual([]);
  expect(dismissed()).toBe(1);
  present(opened[0]).onOver();
  await suspects.stop("abort");
  const [late] = await claimedAgain(1, "host_died");
  expect(await claims([present(late)])).toEqual([]);
  expect([opened.length, (await jobOf(present(late).jobId))?.state]).toEqual([1, "scheduled"]);
});
