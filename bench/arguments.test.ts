import { expect, test } from "vitest";
import { helpText, readArguments } from "./arguments.ts";

const refused = (code: string, ...args: string[]): void => {
  expect(() => readArguments(args), args.join(" ")).toThrow(expect.objectContaining({ name: "BenchError", code }));
};

test("without a name every bench is asked for, and each has its own number of rounds", () => {
  expect(readArguments([])).toEqual({
    names: ["embedded", "latency", "recovery", "reaper", "idle", "queue", "queue-growth"],
    against: undefined,
    rounds: undefined,
    only: undefined,
    finished: undefined,
    report: undefined,
    quick: false,
    json: false,
  });
  expect(readArguments(["idle", "--against", "HEAD~3", "embedded", "--rounds", "3", "--json"])).toEqual({
    names: ["embedded", "idle"],
    against: "HEAD~3",
    rounds: 3,
    only: undefined,
    finished: undefined,
    report: undefined,
    quick: false,
    json: true,
  });
});

test("revisions are compared by all benches but those beside peers alone", () => {
  expect(readArguments(["--against", "HEAD"])).toMatchObject({ names: ["embedded", "latency", "recovery", "reaper", "idle"] });
  refused("bad_option", "queue", "--against", "HEAD");
});

test("cells of the queue are chosen by a pattern that knows no case", () => {
  const request = readArguments(["queue", "--rounds", "5", "--only", "Postgres.*c=10$"]);
  expect(request).toMatchObject({ names: ["queue"], rounds: 5, only: /Postgres.*c=10$/i });
  refused("bad_option", "queue", "--only", "(");
  expect(readArguments(["queue-growth", "--finished", "20"])).toMatchObject({ names: ["queue-growth"], finished: 20_000 });
  refused("bad_option", "queue-growth", "--finished", "0");
  refused("bad_option", "--only", "x", "--against", "HEAD");
});

test("help is answered whatever else is asked", () => {
  expect(readArguments(["--help", "nothing-of-this-name"])).toBe("help");
  for (const option of ["--against", "--rounds", "--only", "--json", "--quick"]) expect(helpText).toContain(option);
});

test("a request that cannot be served is refused by a code of its own", () => {
  refused("unknown_bench", "latencies");
  refused("unknown_bench", "idle", "toString", "--against", "HEAD");
  for (const rounds of ["0", "-1", "1.5", "1e2", "many", "", "1001"]) refused("bad_option", "--against", "HEAD", `--rounds=${rounds}`);
  refused("bad_option", "--against");
  refused("bad_option", "--against=");
  refused("bad_option", "--against=--output=x");
  refused("bad_option", "--against", "HEAD", "--quick");
  refused("bad_option", "queue", "--report=");
  refused("bad_option", "--fast");
});

test("what follows `faults` is read by the fault bench", () => {
  expect(readArguments(["faults", "--seed", "3"])).toMatchObject({ faults: { seed: 3, points: 20 } });
  expect(readArguments(["faults", "--help"])).toBe("help");
  refused("bad_option", "faults", "--rounds", "3");
});
