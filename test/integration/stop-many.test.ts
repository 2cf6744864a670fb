import { expect, onTestFinished, test } from "vitest";
import { forever, untilRun } from "../support/command-runs.ts";
import { commandWorld } from "../support/command-world.ts";

test("twenty commands that are stopped at once are no leak of listeners", async () => {
  const world = await commandWorld(forever);
  const warnings: string[] = [];
  const warned = (warning: Error): void => void warnings.push(warning.message);
  process.on("warning", warned);
  onTestFinished(() => void process.off("warning", warned));
  const items = await Promise.all(Array.from({ length: 20 }, (_, each) => world.addItem(`book-${each}`)));
  const { worker, start } = await world.worker({ concurrency: 20 });
  start();
  for (const item of items) await world.command((await untilRun(world, item, "started")).id);
  await worker.stopAll();
  await world.stopBlocked();
  for (const item of items) expect((await world.job(item.id)).blockedBy).toBeNull();
  // A warning is emitted in a later turn.
  await new Promise((resolve) => setImmediate(resolve));
  expect(warnings).toEqual([]);
});
