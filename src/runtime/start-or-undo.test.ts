import { expect, test } from "vitest";
import { startOrUndo } from "./start-or-undo.ts";

test("what began before a failed step is taken back, the newest first, and the first failure is told", async () => {
  const undone: string[] = [];
  const starting = startOrUndo(async (undo) => {
    undo.push(() => undone.push("store"));
    undo.push(async () => {
      undone.push("server");
      throw new Error("it does not close");
    });
    undo.push(() => {
      undone.push("loops");
      throw new Error("it does not stop");
    });
    throw new Error("no session");
  });
  await expect(starting).rejects.toThrow("no session");
  expect(undone).toEqual(["loops", "server", "store"]);
});

test("nothing is taken back of a start that succeeds", async () => {
  const undone: string[] = [];
  expect(await startOrUndo(async (undo) => undo.push(() => undone.push("store")) ?? "started")).toBe("started");
  expect(undone).toEqual([]);
});
