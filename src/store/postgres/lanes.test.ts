import { beforeEach, expect, test, vi } from "vitest";
import { type LanePhase, Lanes, laneTurns } from "./lanes.ts";
import { type BoundStatement, RolledBack, type Rows } from "./turn-connection.ts";

/** One transaction at the server, which the test lets it answer. */
interface Turn {
  readonly lane: number;
  /** Rows of each kind. */
  readonly rows: Readonly<Record<string, number>>;
  readonly answer: () => Promise<void>;
  readonly fail: (thrown: Error) => Promise<void>;
}

const server = vi.hoisted(() => ({ turns: [] as unknown[], lanes: 0 }));

vi.mock(import("./turn-connection.ts"), async (original) => {
  const open = async (): Promise<unknown> => {
    const lane = ++server.lanes;
    const run = async (statements: readonly BoundStatement[]): Promise<readonly Rows[]> => {
      const rows: Record<string, number> = {};
      for (const { statement, values } of statements) rows[statement.name] = (rows[statement.name] ?? 0) + (values[0] as number);
      return await new Promise((resolve, reject) => {
        const answer = async (): Promise<void> => {
          resolve(statements.map(() => []));
          await settled();
        };
        const fail = async (thrown: Error): Promise<void> => {
          reject(thrown);
          await settled();
        };
        server.turns.push({ lane, rows, answer, fail } satisfies Turn);
      });
    };
    return { run, gone: false, end: async () => undefined };
  };
  return { ...(await original()), TurnConnection: { open } as never };
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

test("little goes by one lane: a second transaction would cost more than it gains", async () => {
  const { settle, claim } = openLanes();
  for (const rows of [5, 3, 2]) void settle(rows);
  void claim(10);
  await settled();
  expect(turns.map(({ rows }) => rows)).toEqual([{ settle: 10, claim: 10 }]);
});

test("a member larger than a turn is not divided, and goes without others of its kind", async () => {
  const { settle, claim } = openLanes();
  for (const rows of [1000, 100, 100]) void settle(rows);
  void claim(10);
  await settled();
  expect(turns.map(({ rows }) => rows)).toEqual([{ settle: 1000, claim: 10 }, { settle: 200 }]);
  expect(laneTurns.rowsMax).toBeLessThan(1000);
});

test("of a turn that was rolled back each member is tried alone; one whose fate is unclear is left to its caller", async () => {
  const { settle } = openLanes();
  const bad = new RolledBack("rolled back", { cause: Object.assign(new Error("no such row"), { code: "23503" }) });
  const asked = Promise.allSettled([settle(1), settle(2)]);
  await settled();
  await turns[0]?.fail(bad);
  await turns[1]?.fail(bad);
  await turns[2]?.answer();
  expect(turns.map(({ rows }) => rows["settle"])).toEqual([3, 1, 2]);
  expect(await asked).toMatchObject([
    { status: "rejected", reason: { message: "no such row" } },
    { status: "fulfilled", value: "settle 2" },
  ]);
  const cut = Promise.allSettled([settle(3), settle(4)]);
  await settled();
  await turns[3]?.fail(new Error("Connection terminated unexpectedly"));
  expect(turns).toHaveLength(4);
  for (const answer of await cut) expect(answer).toMatchObject({ reason: { code: "unavailable" } });
});
