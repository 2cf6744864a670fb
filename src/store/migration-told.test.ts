import { expect, test } from "vitest";
import { seconds } from "../domain/time.ts";
import { migrationEvents, migrationText } from "./migration-told.ts";

function told() {
  const events: [name: string, data: object][] = [];
  let ms = 0;
  const { tell, finished } = migrationEvents({ emit: (name, data) => void events.push([name, data]), mono: () => ms });
  const pass = (by: number): void => {
    ms += by;
  };
  return { events, tell, finished, pass };
}

test("a migration of many slices is reported every two seconds, and when it has ended", () => {
  const { events, tell, finished, pass } = told();
  for (let done = 100; done <= 3_200_000; done += 100) {
    tell({ schema: 4, step: "jobs", done, total: 10_000_000 });
    pass(0.2);
  }
  finished();
  expect(events).toHaveLength(4);
  expect(events[0]).toEqual([
    "migration.advanced",
    {
      schema: 4,
      step: "jobs",
      done: 1_000_100,
      total: 10_000_000,
      waitsFor: null,
      message: "migrating the store: jobs 1,000,100 of 10,000,000",
    },
  ]);
  expect(events.at(-1)).toEqual(["migration.finished", { schema: 4, tookMs: expect.closeTo(6400) }]);
});

test("a migration that waits says so at once, and then every two seconds", () => {
  const { events, tell, pass } = told();
  tell({ schema: 4, step: "making the new tables" });
  for (let times = 0; times < 9; times += 1) {
    tell({ schema: 4, step: "making the new tables", waitsFor: "process 7" });
    pass(seconds(0.5));
  }
  expect(events.map(([name]) => name)).toEqual(["migration.advanced", "migration.advanced", "migration.advanced"]);
  expect(events[0]?.[1]).toMatchObject({
    waitsFor: "process 7",
    message: "migrating the store: making the new tables, waits for process 7",
  });
});

test("a store that needs no migration, or a quick one, is no news but its end", () => {
  const none = told();
  none.finished();
  expect(none.events).toEqual([]);
  const quick = told();
  quick.tell({ schema: 4, step: "jobs", done: 0, total: 1 });
  quick.finished();
  expect(quick.events.map(([name]) => name)).toEqual(["migration.finished"]);
});

test("counts are grouped, and what is not known is left out", () => {
  expect(migrationText({ schema: 4, step: "index jobs_of_note", done: 123 })).toBe("migrating the store: index jobs_of_note 123");
  expect(migrationText({ schema: 4, step: "checking all jobs" })).toBe("migrating the store: checking all jobs");
});
