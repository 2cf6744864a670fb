import { describe, expect, test } from "vitest";
import { RepairWorld } from "../../../test/support/repair-world.ts";
import { addMs } from "../../domain/time.ts";

const seconds = (n: number): number => n * 1000;

describe("budgets and delays", () => {
  test("the first loss returns at once, a second within a minute waits; maxLosses holds the job with an alert", async () => {
    const world = await RepairWorld.open();
    const lose = async (): Promise<number> => {
      const run = await world.start({ queue: "dev" });
      world.die(run);
      await world.tick();
      await world.tick();
      return run.jobId;
    };
    await world.store.jobs.enqueue({ queue: "dev", maxAttempts: 2, maxLosses: 3, jobs: [{}] });
    await lose();
    const [job] = await world.store.upkeep.listJobs({ limit: 1 });
    if (job === undefined) throw new Error("no job");
    expect(job).toMatchObject({ state: "queued", attempts: 0, losses: 1 });
    await lose();
    const waiting = await world.job(job.id);
    expect(waiting).toMatchObject({ state: "scheduled", attempts: 0, losses: 2 });
    expect(waiting.runAt).toBeGreaterThan(world.now);
    world.advance(seconds(300));
    await world.store.jobs.promoteDue(10);
    await lose();
    expect(await world.job(job.id)).toMatchObject({ state: "held", losses: 3 });
    expect(await world.alerts()).toHaveLength(1);
  });

  test("a job whose claimers die before they start it is free three times, then spends an attempt each", async () => {
    const world = await RepairWorld.open();
    await world.store.jobs.enqueue({ queue: "dev", maxAttempts: 1, jobs: [{}] });
    const states: unknown[] = [];
    for (let time = 0; time < 4; time++) {
      const workerId = await world.worker({ pid: 200 + time });
      await world.store.jobs.promoteDue(10);
      const claimed = await world.claim("dev", { workerId });
      if (claimed === undefined) throw new Error(`not claimable the ${time + 1}th time`);
      world.probe.set(200 + time, "dead");
      world.advance(seconds(31));
      await world.tick();
      const { state, attempts } = await world.job(claimed.jobId);
      await world.stopBlocked();
      states.push([state, attempts]);
      world.advance(seconds(600));
    }
    expect(states).toEqual([
      ["queued", 0],
      ["scheduled", 0],
      ["scheduled", 0],
      ["failed", 1],
    ]);
  });

  test("a run that is left alone is judged again when its next limit may be reached, and not before", async () => {
    const world = await RepairWorld.open();
    const limits = { maxRunningMs: seconds(3600), heartbeatTimeoutMs: seconds(500) };
    const run = await world.running({ limits });
    const startedAt = world.now;
    world.advance(seconds(700));
    await world.store.runs.beat([{ runId: run.runId, at: world.now }]);
    await world.store.workers.renew({
      workerId: (await world.store.runs.get(run.runId))?.workerId as never,
      held: [run.runId],
      claimSeqReceived: 1,
    });
    await world.store.runs.moveChecks([{ ...run, checkAt: world.now }]);
    expect((await world.tick()).seen).toBe(1);
    const { checkAt } = (await world.store.runs.get(run.runId)) ?? {};
    // Its process is proved alive, so only its own heartbeat counts, not its session's silence.
    expect(checkAt).toBe(addMs(startedAt, seconds(1200) + 1));
    expect((await world.tick()).seen).toBe(0);
  });
});

test("a run that beat once and never again is found one timeout later, not two; its beats move no check", async () => {
  const world = await RepairWorld.open();
  const run = await world.running({ limits: { maxRunningMs: seconds(3600), heartbeatTimeoutMs: seconds(600) } });
  world.advance(seconds(1));
  await world.store.runs.beat([{ runId: run.runId, at: world.now }]);
  world.advance(seconds(600));
  const [worker] = await world.store.workers.listAlive();
  if (worker === undefined) throw new Error("no session");
  await world.store.workers.renew({ workerId: worker.id, held: [run.runId], claimSeqReceived: 1 });
  await world.tick();
  expect(await world.store.runs.get(run.runId)).toMatchObject({ state: "started", checkAt: addMs(world.now, 1) });
  world.advance(1);
  await world.tick();
  expect(await world.store.runs.get(run.runId)).toMatchObject({ outcome: "hung" });
});
