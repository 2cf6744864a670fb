import { expect, test } from "vitest";
import { HintBoard } from "./hint-board.ts";

test("hints of one turn reach each listener once, after the turn", async () => {
  const board = new HintBoard();
  const heard: string[] = [];
  board.listen((hint) => heard.push(hint));
  board.post(["jobs", "items"]);
  board.post(["jobs"]);
  expect(heard).toEqual([]);
  await Promise.resolve();
  expect(heard).toEqual(["jobs", "items"]);
});

test("a listener that has stopped gets no more hints", async () => {
  const board = new HintBoard();
  const heard: string[] = [];
  const stop = board.listen((hint) => heard.push(hint));
  board.post(["jobs"]);
  stop();
  await Promise.resolve();
  expect(heard).toEqual([]);
});
