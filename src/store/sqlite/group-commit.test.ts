import { expect, onTestFinished, test } from "vitest";
import type { StoreHint } from "../port/store.ts";
import { SqliteConnection } from "./connection.ts";
import { GroupCommit } from "./group-commit.ts";

function openGroup(options: { readonly weightMax?: number } = {}) {
  const connection = new SqliteConnection({ path: ":memory:" });
  onTestFinished(() => connection.close());
  connection.db.exec("create table seen (place integer primary key autoincrement, word text not null check (word <> 'bad'))");
  const transactions: string[][] = [];
  const hinted: StoreHint[] = [];
  const group = new GroupCommit({
    connection,
    hint: (hints) => hinted.push(...hints),
    prepare: () => transactions.push([]),
    ...options,
  });
  const phase = (name: string) =>
    group.addPhase<string, string>({
      apply: (words, hints) =>
        words.map((word) => {
          connection.prepare("insert into seen (word) values (?)").run(word);
          transactions.at(-1)?.push(`${name}:${word}`);
          hints.add("jobs");
          return `${name}:${word}`;
        }),
    });
  const stored = (): unknown[] =>
    connection.db
      .prepare("select word from seen order by place")
      .all()
      .map((row: { word: string }) => row.word);
  return { connection, group, first: phase("first"), second: phase("second"), transactions, hinted, stored };
}

test("callers of one turn share a transaction, phase by phase, and each gets its own answer", async () => {
  const { first, second, transactions, stored, hinted } = openGroup();
  const answers = await Promise.all([second("x"), first("a"), second("y"), first("b")]);
  expect(answers).toEqual(["second:x", "first:a", "second:y", "first:b"]);
  expect(transactions).toEqual([["first:a", "first:b", "second:x", "second:y"]]);
  expect(stored()).toEqual(["a", "b", "x", "y"]);
  expect(hinted).toEqual(["jobs"]);
});

test("one bad member fails alone: the group is rolled back and its members are tried singly", async () => {
  const { first, second, stored } = openGroup();
  const [a, bad, x] = await Promise.allSettled([first("a"), first("bad"), second("x")]);
  expect(a).toEqual({ status: "fulfilled", value: "first:a" });
  expect(bad).toMatchObject({ status: "rejected", reason: { message: expect.stringContaining("CHECK") as string } });
  expect(x).toEqual({ status: "fulfilled", value: "second:x" });
  expect(stored()).toEqual(["a", "x"]);
});

test("a transaction takes no more than its weight, in order, and no phase starves behind another", async () => {
  const { first, second, transactions } = openGroup({ weightMax: 2 });
  await Promise.all([...["a", "b", "c"].map((word) => first(word)), second("x")]);
  expect(transactions).toEqual([["first:a", "first:b", "second:x"], ["first:c"]]);
});

test("a turn waits for whoever has the connection", async () => {
  const { connection, first, stored } = openGroup();
  await connection.acquire();
  connection.db.exec("begin immediate; insert into seen (word) values ('theirs')");
  const ours = first("ours");
  await new Promise<void>((resolve) => {
    setImmediate(() => setImmediate(resolve));
  });
  expect(stored()).toEqual(["theirs"]);
  connection.db.exec("commit");
  connection.release();
  await ours;
  expect(stored()).toEqual(["theirs", "ours"]);
});

test("a close commits what waits and refuses what comes after", async () => {
  const { group, first, stored } = openGroup();
  const waiting = first("a");
  const closed = group.close();
  await expect(first("late")).rejects.toMatchObject({ code: "unavailable" });
  await closed;
  expect(stored()).toEqual(["a"]);
  expect(await waiting).toBe("first:a");
});

test("a connection that is gone rejects every member that waits", async () => {
  const { connection, first, second } = openGroup();
  const waiting = Promise.allSettled([first("a"), second("x")]);
  await connection.close();
  for (const answer of await waiting) expect(answer).toMatchObject({ status: "rejected", reason: { code: "unavailable" } });
});
