import { expect, test } from "vitest";
import { asWorkerId } from "../../domain/ids.ts";
import { addMs, asInstant, type Instant, minutes } from "../../domain/time.ts";
import { EndedSessions } from "./ended-sessions.ts";

const start = asInstant(1_800_000_000_000);

/** A store whose ended sessions all hold something until they are removed from it. */
function sessions() {
  const holding = new Map<number, Instant>();
  const asked: Instant[] = [];
  const ended = new EndedSessions({
    listEndedHolding: async ({ endedSince, limit }) => {
      asked.push(endedSince);
      return [...holding].flatMap(([id, endedAt]) => (endedAt >= endedSince ? [{ id: asWorkerId(id), endedAt }] : [])).slice(0, limit);
    },
  });
  return { holding, asked, ended };
}

test("the first look finds what ended at any time: a crash between a verdict and what follows loses nothing", async () => {
  const { holding, asked, ended } = sessions();
  holding.set(1, addMs(start, -minutes(600)));
  expect(await ended.holding(start)).toEqual([1]);
  expect(asked).toEqual([0]);
});

test("later looks ask for those that ended since, and go on with one that still holds something", async () => {
  const { holding, asked, ended } = sessions();
  const long = addMs(start, -minutes(600));
  holding.set(1, long);
  await ended.holding(start);
  holding.set(2, start);
  expect(await ended.holding(addMs(start, 1000))).toEqual([1, 2]);
  holding.clear();
  expect(await ended.holding(addMs(start, 2000))).toEqual([]);
  holding.set(3, addMs(start, 2500));
  expect(await ended.holding(addMs(start, 3000))).toEqual([3]);
  expect(asked).toEqual([0, long, long, addMs(start, 2000 - minutes(1))]);
});

test("a session that every other look missed is found within ten minutes", async () => {
  const { holding, ended } = sessions();
  await ended.holding(start);
  holding.set(1, addMs(start, -minutes(300)));
  expect(await ended.holding(addMs(start, minutes(9)))).toEqual([]);
  expect(await ended.holding(addMs(start, minutes(10)))).toEqual([1]);
});

test("a page that is full hides none of those behind it", async () => {
  const { holding, ended } = sessions();
  for (let id = 1; id <= 700; id++) holding.set(id, addMs(start, -minutes(id)));
  expect(await ended.holding(start)).toHaveLength(500);
  for (let id = 1; id <= 500; id++) holding.delete(id);
  expect(await ended.holding(addMs(start, 1000))).toHaveLength(200);
});
