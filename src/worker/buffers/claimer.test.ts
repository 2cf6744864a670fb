import { expect, test } from "vitest";
import { WakefulError } from "../../domain/errors.ts";
import type { WorkerId } from "../../domain/ids.ts";
import type { ClaimRequest } from "../../store/port/runs.ts";
import { type ClaimedWork, claimsUnreceivedMax } from "../worker-backend.ts";
import { Claimer, type ClaimRoom } from "./claimer.ts";

interface Asked {
  readonly request: ClaimRequest;
  /** So many runs are its answer. */
  readonly answer: (runs: number) => Promise<void>;
  readonly fail: () => Promise<void>;
}

const workerId = 1 as WorkerId;
const turn = async (): Promise<void> => await new Promise((resolve) => setImmediate(resolve));

/** A claimer before a store whose answers the test gives, in the order that it likes. */
function claimer(options: { readonly atOnce?: number; readonly room?: (asked: ClaimRoom) => ClaimRoom } = {}) {
  const asked: Asked[] = [];
  const events: string[] = [];
  const claims = new Claimer({
    claim: async (request) =>
      await new Promise<readonly ClaimedWork[]>((resolve, reject) => {
        asked.push({
          request,
          answer: async (runs) => {
            resolve(Array.from({ length: runs }, () => ({}) as ClaimedWork));
            await turn();
          },
          fail: async () => {
            reject(new WakefulError("unavailable", "the answer got lost"));
            await turn();
          },
        });
      }),
    queues: [{ name: "t", limits: {} }],
    atOnce: options.atOnce,
    name: "w",
    emit: (name) => void events.push(name),
    onClaimed: (runs) => void events.push(`claimed ${runs.length}`),
    onFailed: () => void events.push("failed"),
  });
  const claim = (): void => {
    while (claims.claim(workerId, options.room ?? (() => ({ max: 10, startNow: 0 }))));
  };
  const numbers = () => asked.map(({ request }) => request.claimSeq);
  const at = (place: number): Asked => asked[place] as Asked;
  return { claims, claim, asked, at, numbers, events };
}

test("a second claim is under way beside the first only while claims find all that they ask for", async () => {
  const { claim, claims, at, numbers } = claimer({ atOnce: 2 });
  claim();
  expect(numbers()).toEqual([1]);
  await at(0).answer(10);
  claim();
  expect(numbers(), "two, and no third").toEqual([1, 2, 3]);
  await at(1).answer(10);
  claim();
  expect(numbers()).toEqual([1, 2, 3, 4]);
  await at(2).answer(4);
  claims.lookAgain();
  claim();
  expect(numbers(), "the last one was short").toEqual([1, 2, 3, 4]);
  await at(3).answer(10);
  claim();
  expect(numbers()).toEqual([1, 2, 3, 4, 5, 6]);
});

test("without jobs each look asks once, however many claims may be under way", async () => {
  const { claim, claims, asked, at } = claimer({ atOnce: 2 });
  claim();
  await at(0).answer(10);
  claim();
  await at(1).answer(0);
  await at(2).answer(10);
  claim();
  expect(asked, "dry, though an earlier question was answered in full after it").toHaveLength(3);
  for (let look = 1; look <= 3; look++) {
    claims.lookAgain();
    claim();
    expect(asked).toHaveLength(3 + look);
    await at(2 + look).answer(0);
    claim();
    expect(asked).toHaveLength(3 + look);
  }
});

test("as received counts only a claim before which all have been answered, whatever order the answers come in", async () => {
  const { claim, claims, at, numbers } = claimer({ atOnce: 2 });
  claim();
  await at(0).answer(10);
  claim();
  await at(2).answer(10);
  expect(claims.seqReceived, "2 may still bring runs").toBe(1);
  claim();
  await at(3).answer(10);
  expect(claims.seqReceived).toBe(1);
  await at(1).answer(10);
  expect([claims.seqReceived, numbers()]).toEqual([4, [1, 2, 3, 4]]);
});

test("numbers do not run away from a claim that is not answered", async () => {
  const { claim, at, numbers } = claimer({ atOnce: 2 });
  claim();
  await at(0).answer(10);
  claim();
  for (let place = 2; place < 2 + 2 * claimsUnreceivedMax && at(place) !== undefined; place++) {
    await at(place).answer(10);
    claim();
  }
  expect(Math.max(...numbers()) - 1).toBe(claimsUnreceivedMax);
  await at(1).answer(10);
  claim();
  expect(Math.max(...numbers())).toBe(1 + claimsUnreceivedMax + 2);
});

test("claims whose answers got lost are asked again as they were, and nothing new before that", async () => {
  const { claim, claims, asked, at, numbers, events } = claimer({ atOnce: 2 });
  claim();
  await at(0).answer(10);
  claim();
  await at(1).fail();
  await at(2).fail();
  claim();
  expect([numbers(), claims.busy], "not before there is reason to look again").toEqual([[1, 2, 3], false]);
  claims.lookAgain();
  claim();
  expect(asked.slice(3).map(({ request }) => request)).toEqual(asked.slice(1, 3).map(({ request }) => request));
  await at(4).answer(10);
  expect(claims.seqReceived).toBe(1);
  await at(3).answer(10);
  expect([claims.seqReceived, events.filter((event) => event === "failed")]).toEqual([3, ["failed", "failed"]]);
});

test("one lost answer holds up no other: its claim is repeated while the next one's answer counts", async () => {
  const { claim, claims, at, numbers } = claimer({ atOnce: 2 });
  claim();
  await at(0).answer(10);
  claim();
  await at(1).fail();
  await at(2).answer(10);
  claims.lookAgain();
  claim();
  expect([numbers(), claims.seqReceived]).toEqual([[1, 2, 3, 2], 1]);
  await at(3).answer(10);
  claim();
  expect([numbers(), claims.seqReceived]).toEqual([[1, 2, 3, 2, 4, 5], 3]);
});

test("what there is room for is asked beside what is under way, and what may be started too", async () => {
  const told: ClaimRoom[] = [];
  const { claim, at } = claimer({
    atOnce: 2,
    room: (beside) => {
      told.push(beside);
      return { max: 10, startNow: 3 };
    },
  });
  claim();
  await at(0).answer(10);
  claim();
  await at(1).answer(10);
  claim();
  const [nothing, one] = [
    { max: 0, startNow: 0 },
    { max: 10, startNow: 3 },
  ];
  expect(told).toEqual([nothing, nothing, one, one]);
});

test("no room, no claim", () => {
  const { claim, claims, asked } = claimer({ room: () => ({ max: 0, startNow: 0 }) });
  claim();
  expect([asked, claims.busy]).toEqual([[], false]);
});

test("a hint that comes while a claim is under way is not answered by it, but by the next", async () => {
  const { claim, claims, at, numbers } = claimer();
  claim();
  claims.lookAgain();
  claim();
  expect(numbers(), "one at a time").toEqual([1]);
  await at(0).answer(0);
  claim();
  expect(numbers()).toEqual([1, 2]);
  await at(1).answer(0);
  claim();
  expect(numbers()).toEqual([1, 2]);
});

test("claims that are given up count as received: what they took is not held, and its judge hears so [F-9.4]", async () => {
  const { claim, claims, at, numbers, events } = claimer({ atOnce: 2 });
  claim();
  await at(0).answer(10);
  claim();
  await at(1).fail();
  expect(claims.seqReceived).toBe(1);
  claims.giveUp();
  expect(claims.seqReceived, "the third may still be answered").toBe(2);
  await at(2).fail();
  expect([claims.seqReceived, claims.busy]).toEqual([3, false]);
  claims.lookAgain();
  claim();
  expect(numbers()).toEqual([1, 2, 3, 4]);
  await at(3).answer(1);
  expect(events.at(-1)).toBe("claimed 1");
});
