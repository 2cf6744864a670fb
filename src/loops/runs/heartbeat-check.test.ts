import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { HeartbeatCheck } from "../../../test/support/heartbeat-check.ts";
import { chain } from "../../../test/support/loop-world.ts";
import type { StartedRun } from "../../../test/support/repair-world.ts";
import { later } from "../../../test/support/store-rows.ts";

const seconds = (n: number): number => n * 1000;
const beating = (timeoutSeconds: number) => ({ heartbeatTimeoutMs: seconds(timeoutSeconds), maxRunningMs: seconds(86_400) });
const checkOf = async (...stages: readonly string[]): Promise<HeartbeatCheck> => await HeartbeatCheck.of(chain("p", stages));

describe("the check of what is in flight", () => {
  test("items in any other stage are never changed, however long they are silent [A-19]", async () => {
    const check = await checkOf("prep", "ocr");
    const { world } = check;
    const { store } = world;
    const [discovered, retrying, done, failed] = [
      await world.addItem("p", "z-discovered"),
      await world.addItem("p", "retrying"),
      await world.addItem("p", "done"),
      await world.addItem("p", "failed"),
    ];
    // The oldest waits: it is paused so that the others are claimed first.
    await store.items.setPaused(discovered.id, { paused: true, actor: "test" });
    const settle = async (then: "queued" | "done" | "failed"): Promise<void> => {
      const run = await check.start("p/prep", { limits: beating(600) });
      const end = { ...run, actor: "test" } as const;
      const advance = world.world.registry.advanceFrom("p", "prep");
      if (advance === undefined) throw new Error("nothing follows prep");
      const failed = { ...end, outcome: "failed", reason: "exit_code", message: "exit code 1", retry: later(seconds(1_000_000)) } as const;
      await store.runs.settle([
        then === "done"
          ? { ...end, outcome: "succeeded", reason: "exit0_no_gate", advance }
          : { ...failed, disposition: then === "failed" ? "fail" : undefined },
      ]);
    };
    await settle("queued");
    await settle("done");
    await settle("failed");
    await check.deliver();
    const items = [discovered, retrying, done, failed];
    const states = items.map((item) => check.state(item).stage);
    expect(states).toEqual(["DISCOVERED", "PREP_RETRY", "PREP_DONE", "ERROR_PREP"]);
    const before = items.map((item) => readFileSync(check.pathOf(item), "utf8"));
    const rows = async () => await Promise.all(items.map(async ({ id }) => [await store.items.get(id), await store.items.jobs(id)]));
    const rowsBefore = await rows();
    for (let tick = 0; tick < 3; tick += 1) {
      world.advance(seconds(100_000));
      await check.tick();
    }
    expect(items.map((item) => readFileSync(check.pathOf(item), "utf8"))).toEqual(before);
    expect(await rows()).toEqual(rowsBefore);
  });

  test("it needs no more than key, stage and counters that may be 0, moves the very row in flight, and then finds nothing more to do [A-20, A-G2]", async () => {
    const check = await checkOf("prep");
    const { world } = check;
    // Only its key: no payload, no heartbeat ever, no state file of its own.
    const item = await world.addItem("p", "bare");
    const run = await check.start("p/prep", { limits: beating(600), beat: false });
    expect(existsSync(check.pathOf(item))).toBe(false);
    // Both counters are 0 while it is in flight: the attempt in flight counts when it ends.
    world.world.sql(`update visits set attempts = 0 where item_id = ${item.id}; update jobs set attempts = 0 where item_id = ${item.id}`);
    world.advance(seconds(1200));
    await check.tick();
    const [job, ...others] = await world.store.items.jobs(item.id);
    expect(others).toEqual([]);
    expect(job).toMatchObject({ id: run.jobId, state: "scheduled", blockedBy: run.runId });
    expect(check.state(item)).toMatchObject({ jobKey: "bare", state: "PREP_TIMEOUT", stage: "PREP_RETRY", attemptPrep: 1 });
    const text = readFileSync(check.pathOf(item), "utf8");
    for (let tick = 0; tick < 3; tick += 1) {
      world.advance(seconds(1200));
      await check.tick();
    }
    expect(await world.store.items.jobs(item.id)).toEqual([job]);
    expect(readFileSync(check.pathOf(item), "utf8")).toBe(text);
    expect(world.world.eventsOf("run.ended")).toHaveLength(1);
  });

  test("it is given what is in flight and each one's timeout, and looks at nothing else [A-21]", async () => {
    const check = await checkOf("prep");
    const { world } = check;
    const runs: StartedRun[] = [];
    for (const [key, timeoutSeconds] of [
      ["short", 60],
      ["long", 600],
      ["unlisted", 60],
    ] as const) {
      await world.addItem("p", key);
      runs.push(await check.start("p/prep", { limits: beating(timeoutSeconds) }));
    }
    const unlisted = runs[2]?.runId;
    const { listDue } = world.seen.runs;
    world.seen.runs.listDue = async (page) => (await listDue(page)).filter((run) => run.id !== unlisted);
    world.advance(seconds(61));
    await check.tick();
    expect(await Promise.all(runs.map((run) => world.stateOf(run)))).toEqual(["scheduled", "running", "running"]);
    world.advance(seconds(540));
    await check.tick();
    expect(await Promise.all(runs.map((run) => world.stateOf(run)))).toEqual(["scheduled", "scheduled", "running"]);
  });
});
