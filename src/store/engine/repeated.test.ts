import { CompiledQuery } from "kysely";
import { expect, test, vi } from "vitest";
import { repeated } from "./repeated.ts";

function recorded(build: (blanks: { readonly now: number; readonly limit: number }) => CompiledQuery<unknown>) {
  const asked: { readonly statement: string; readonly parameters: readonly unknown[] }[] = [];
  const rows = async <Row>(statement: string, parameters: readonly unknown[]): Promise<readonly Row[]> => {
    asked.push({ statement, parameters });
    return [];
  };
  return { asked, ask: repeated({ rows }, build) };
}

test("a statement is built once, at its first use, and each call gives its own values, wherever and how often they stand", async () => {
  const build = vi.fn(({ now, limit }: { readonly now: number; readonly limit: number }) =>
    CompiledQuery.raw("select ? , ?, ?, ?", [now, "live", limit, now]),
  );
  const { asked, ask } = recorded(build);
  expect(build).not.toHaveBeenCalled();
  await ask({ now: 1, limit: 10 });
  await ask({ now: 2, limit: 20 });
  expect(build).toHaveBeenCalledTimes(1);
  expect(asked.map(({ parameters }) => parameters)).toEqual([
    [1, "live", 10, 1],
    [2, "live", 20, 2],
  ]);
  expect(new Set(asked.map(({ statement }) => statement)).size).toBe(1);
});
