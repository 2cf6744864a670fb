import { expect, test } from "vitest";
import { untilItem } from "../../../test/support/command-runs.ts";
import { commandWorld } from "../../../test/support/command-world.ts";
import { StoreUnavailableError } from "../../store/port/errors.ts";
import type { ClaimRequest } from "../../store/port/runs.ts";

test("a claim whose answer was lost is asked again under its id, and what it took is started, without a loop's help", async () => {
  const world = await commandWorld("exit 0");
  const asked: ClaimRequest[] = [];
  const { worker, start } = await world.worker({
    backend: (direct) => ({
      claim: async (request) => {
        asked.push(request);
        const runs = await direct.claim(request);
        if (asked.length === 1) throw new StoreUnavailableError("the answer was lost on its way");
        return runs;
      },
    }),
  });
  const item = await world.addItem();
  start();
  await untilItem(world, item, "done");
  expect(asked[1]).toEqual(asked[0]);
  expect((await world.job(item.id)).runCount).toBe(1);
  expect(worker.claimSeqReceived).toBeGreaterThanOrEqual(1);
});

test("under a new session the unanswered claim of the one before is not asked again", async () => {
  const world = await commandWorld("exit 0");
  const asked: ClaimRequest[] = [];
  const { worker, workerId, start } = await world.worker({
    backend: () => ({
      claim: async (request) => {
        asked.push(request);
        throw new StoreUnavailableError("nothing answers");
      },
    }),
  });
  start();
  const next = (await world.worker()).workerId;
  worker.changeSession(next);
  expect(asked.map(({ workerId: session, claimSeq }) => ({ session, claimSeq }))).toEqual([
    { session: workerId, claimSeq: 1 },
    { session: next, claimSeq: 1 },
  ]);
  expect(new Set(asked.map(({ claimId }) => claimId)).size).toBe(2);
});
