import { DatabaseSync } from "@photostructure/sqlite";
import { expect, test } from "vitest";
import { copyStatements } from "./copied-history.ts";

test("copies have ids of their own, and each run stays with its job", () => {
  const db = new DatabaseSync(":memory:");
  db.exec(
    "create table jobs (id integer primary key, state text); create table runs (id integer primary key, job_id integer, outcome text)",
  );
  db.exec(
    "insert into jobs values (5, 'done'), (6, 'done'), (8, 'done'); insert into runs values (100, 5, 'a'), (101, 6, 'b'), (102, 8, 'c')",
  );
  const series = (from: number, to: number): string =>
    `(with recursive s (n) as (select ${from} union all select n + 1 from s where n < ${to}) select n from s)`;
  const columns = { jobs: ["id", "state"], runs: ["id", "job_id", "outcome"] };
  for (const statement of copyStatements(columns, { jobFrom: 5, jobs: 4, runFrom: 100, runs: 3 }, 600, series)) db.exec(statement);
  expect(db.prepare("select count(*) as n, min(id) as first, max(id) as last from jobs").get()).toMatchObject({
    n: 1803,
    first: 5,
    last: 2408,
  });
  expect(
    db
      .prepare("select count(*) as n, count(distinct r.job_id) as jobs from runs r join jobs j on j.id = r.job_id where j.state = 'done'")
      .get(),
  ).toMatchObject({ n: 1803, jobs: 1803 });
  expect(db.prepare("select outcome, count(*) as n from runs group by outcome order by outcome").all()).toMatchObject([
    { outcome: "a", n: 601 },
    { outcome: "b", n: 601 },
    { outcome: "c", n: 601 },
  ]);
  db.close();
});
