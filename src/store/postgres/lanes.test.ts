import { beforeEach, expect, test, vi } from "vitest";
import { type BoundStatement, type LanePhase, Lanes, laneTurns } from "./lanes.ts";

/** One transaction at the server, which the test lets it answer. */
interface Turn {
  readonly lane: number;
  /** Rows of each kind. */
  readonly rows: Readonly<Record<string, number>>;
  readonly answer: () => Promise<void>;
}

const server = vi.hoisted(() => ({ turns: [] as unknown[], lanes: 0, writes: [] as string[] }));

vi.mock("pg", () => {
  class Client {
    readonly #lane = ++server.lanes;
    readonly connection = { stream: { cork: () => server.writes.push("cork"), uncork: () => server.writes.push("uncork") } };
    #rows: Record<string, number> = {};
    #answers: (() => void)[] = [];

    on(): this {
      return this;
    }

    async connect(): Promise<void> {}

    async end(): Promise<void> {}

    async query({ text, values = [] }: { readonly text: string; readonly values?: readonly unknown[] }): Promise<unknown> {
      server.writes.push(text);
      if (text !== "begin" && text !== "commit") this.#rows[text] = (this.#rows[text] ?? 0) + (values[0] as number);
      const answered = new Promise((resolve) => this.#answers.push(() => resolve({ command: text.toUpperCase(), rows: [] })));
      if (text === "commit") {
        const [rows, answers] = [this.#rows, this.#answers];
        this.#rows = {};
        this.#answers = [];
        const answer = async () => {
          for (const each of answers) each();
          await settled();
        };
        server.turns.push({ lane: this.#lane, rows, answer } satisfies Turn);
      }
      return await answered;
    }
  }
  return { default: { Client } };
});

const turns = server.turns as Turn[];
const settled = async (): Promise<void> => {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
};

/** A kind of write whose members are numbers of rows. */
const phase = (name: string): LanePhase<number, string> => ({
  weigh: (rows) => rows,
  batch: (inputs) => ({
    statements: inputs.map((rows): BoundStatement => ({ statement: { name, text: name }, values: [rows] })),
    answers: () => inputs.map((rows) => `${name} ${rows}`),
  }),
});

function openLanes() {
  const lanes = new Lanes({ target: { name: "store", schema: "wakeful", config: {} } as never, hint: () => undefined });
  return { lanes, settle: lanes.addPhase(phase("settle")), claim: lanes.addPhase(phase("claim")) };
}

beforeEach(() => {
  turns.length = 0;
  server.writes.length = 0;
  server.lanes = 0;
});

test("with many outstanding both lanes carry turns, none larger than the limit, and the next waits for a lane", async () => {
  const { lanes, settle, claim } = openLanes();
  const asked = Promise.all([250, 250, 250].flatMap((rows) => [settle(rows), claim(rows)]));
  await settled();
  expect(turns.map(({ lane, rows }) => ({ lane, ...rows }))).toEqual([
    { lane: 1, settle: 250, claim: 250 },
    { lane: 2, settle: 250, claim: 250 },
  ]);
  await turns[1]?.answer();
  expect(turns.slice(2).map(({ lane, rows }) => ({ lane, ...rows }))).toEqual([{ lane: 2, settle: 250, claim: 250 }]);
  await turns[0]?.answer();
  await turns[2]?.answer();
  expect((await asked).at(-1)).toBe("claim 250");
  await lanes.close();
});

test("what waits is dealt out over the lanes that are free, in order", async () => {
  const { settle } = openLanes();
  for (const rows of [80, 70, 60, 50, 40]) void settle(rows);
  await settled();
  expect(
    turns.map(({ rows }) => rows["settle"]),
    "80 and 70 of 300; what is left",
  ).toEqual([150, 150]);
});

test("little goes by one lane, in one write: a second transaction would cost more than it gains", async () => {
  const { settle, claim } = openLanes();
  for (const rows of [5, 3, 2]) void settle(rows);
  void claim(10);
  await settled();
  expect(turns.map(({ rows }) => rows)).toEqual([{ settle: 10, claim: 10 }]);
  expect(server.writes).toEqual(["cork", "begin", "settle", "settle", "settle", "claim", "commit", "uncork"]);
});

test("a member larger than a turn is not divided, and goes without others of its kind", async () => {
  const { settle, claim } = openLanes();
  for (const rows of [1000, 100, 100]) void settle(rows);
  void claim(10);
  await settled();
  expect(turns.map(({ rows }) => rows)).toEqual([{ settle: 1000, claim: 10 }, { settle: 200 }]);
  expect(laneTurns.rowsMax).toBeLessThan(1000);
});
