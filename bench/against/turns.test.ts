import { expect, test } from "vitest";
import type { Answer } from "../cell.ts";
import type { SideName } from "./comparison.ts";
import type { Measurement } from "./measurements.ts";
import { takeTurns } from "./turns.ts";

const cell = (what: string, extra: Partial<Measurement> = {}): Measurement => ({
  bench: "latency",
  what,
  cell: `cells/${what}.ts`,
  question: {},
  cellOf: "tree",
  figures: [{ key: "ms", name: what, unit: "ms", better: "lower", worseMax: 0.07 }],
  ...extra,
});

async function turns(wanted: readonly Measurement[], rounds: number, run: (side: SideName, what: string) => object) {
  const order: string[] = [];
  const said: string[] = [];
  const figures = await takeTurns({
    wanted,
    rounds,
    run: async (side, { what }) => {
      order.push(`${what} ${side}`);
      return run(side, what) as Answer;
    },
    signal: new AbortController().signal,
    say: (line) => void said.push(line),
  });
  return { figures, order, said };
}

test("each cell runs on one side and at once on the other, and the next round begins with the other side", async () => {
  const { order, figures } = await turns([cell("a"), cell("b")], 2, (side) => ({ ms: side === "base" ? 10 : 11 }));
  expect(order).toEqual(["a base", "a tree", "b base", "b tree", "a tree", "a base", "b tree", "b base"]);
  expect(figures).toMatchObject([
    { name: "a", base: 10, tree: 11, ratio: 1.1, n: 2, holds: false },
    { name: "b", n: 2 },
  ]);
});

test("a list of samples counts as its median, and cells of one figure are pooled", async () => {
  const figures = [{ key: "samples", name: "pooled", unit: "ms", better: "lower", worseMax: null }] as const;
  const answers: Record<string, readonly number[]> = { "a base": [1, 2, 90], "a tree": [4], "b base": [4], "b tree": [4] };
  const wanted = [cell("a", { figures }), cell("b", { figures })];
  const told = await turns(wanted, 1, (side, what) => ({ samples: answers[`${what} ${side}`] }));
  expect(told.figures).toMatchObject([
    {
      name: "pooled",
      pairs: [
        { base: 2, tree: 4 },
        { base: 4, tree: 4 },
      ],
      ratio: 1.5,
    },
  ]);
});

test("a cell that fails, or whose answer is not what it must be, spoils its own pair alone", async () => {
  let runs = 0;
  const wanted = [cell("a", { exactly: { adopted: 20 } }), cell("b")];
  const { figures, said } = await turns(wanted, 3, (side, what) => {
    if (what === "b") return { ms: 1 };
    runs += 1;
    if (runs === 1) throw new Error("no space left");
    return { ms: 1, adopted: side === "tree" && runs === 3 ? 19 : 20 };
  });
  expect(figures).toMatchObject([
    {
      name: "a",
      n: 1,
      holds: false,
      pairs: [
        { base: null, tree: 1 },
        { base: 1, tree: null },
        { base: 1, tree: 1 },
      ],
    },
    { name: "b", n: 3, holds: true },
  ]);
  expect(said.filter((line) => line.includes("failed"))).toEqual([
    "round 1/3 latency, a: the base failed: no space left",
    "round 2/3 latency, a: the tree failed: adopted is 19 and not 20",
  ]);
});

test("an answer without the figure's number is no measurement", async () => {
  const { figures } = await turns([cell("a")], 1, (side) => (side === "base" ? { ms: null } : { ms: 3 }));
  expect(figures).toMatchObject([{ pairs: [{ base: null, tree: 3 }], holds: null }]);
});

test("an interruption ends the turns at once", async () => {
  const interrupt = new AbortController();
  const ran: SideName[] = [];
  const running = takeTurns({
    wanted: [cell("a")],
    rounds: 5,
    run: (side) => {
      ran.push(side);
      interrupt.abort(new Error("interrupted"));
      return Promise.reject(new Error("the cell was killed"));
    },
    signal: interrupt.signal,
    say: () => undefined,
  });
  await expect(running).rejects.toThrow("interrupted");
  expect(ran).toEqual(["base"]);
});
