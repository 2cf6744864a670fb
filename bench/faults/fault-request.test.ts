import { expect, test } from "vitest";
import { readFaultRequest } from "./fault-request.ts";

test("without options: 20 points of seed 1 on every set-up, at default limits", () => {
  expect(readFaultRequest([])).toEqual({
    seed: 1,
    points: 20,
    from: 0,
    limits: "default",
    times: 1,
    stores: ["sqlite", "postgres", "postgres-two"],
    all: false,
    only: undefined,
    json: false,
  });
});

test("one point is run again by its seed and number", () => {
  const request = readFaultRequest(["--seed", "7", "--from", "12", "--points", "1", "--limits", "short", "--store", "postgres-two"]);
  expect(request).toMatchObject({ seed: 7, from: 12, points: 1, limits: "short", stores: ["postgres-two"] });
});

test.each([
  [["--seed", "-1"]],
  [["--seed", "x"]],
  [["--points", "0"]],
  [["--limits", "long"]],
  [["--store", "mysql"]],
  [["--only", "("]],
  [["--unknown"]],
  [["more"]],
])("%j is refused in words", (args) => {
  expect(() => readFaultRequest(args)).toThrow(expect.objectContaining({ code: "bad_option" }));
});
