import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { tempDir } from "../../test/support/temp-dir.ts";
import { addMs, asInstant } from "../domain/time.ts";
import { dataPaths } from "../files/data-paths.ts";
import type { DuplicateRow } from "../store/port/records.ts";
import { DecisionFiles } from "./decision-files.ts";

const start = asInstant(0);

/** Decision files of a data directory, over duplicates of these keys that wait. */
function decisions(...keys: string[]) {
  const paths = dataPaths(tempDir("decisions"));
  const rows = keys.map((key, at) => ({ id: at + 1, key, decision: null as DuplicateRow["decision"] }));
  const decided: string[] = [];
  const alerts: string[] = [];
  const held = (key: string) => join(paths.dataDir, "hold", "duplicates", key);
  const write = (key: string, text: string): string => {
    mkdirSync(held(key), { recursive: true });
    writeFileSync(join(held(key), "decision.json"), text);
    return join(held(key), "decision.json");
  };
  const files = new DecisionFiles({
    store: {
      duplicates: {
        list: async () => rows as unknown as DuplicateRow[],
        decide: async (id: number, decision: NonNullable<DuplicateRow["decision"]>, by: string) => {
          const row = rows.find((each) => each.id === id);
          if (row === undefined || row.decision !== null) return false;
          row.decision = decision;
          decided.push(`${row.key}: ${decision}, ${by}`);
          return true;
        },
      } as never,
    },
    alert: async ({ cause }) => {
      alerts.push(cause);
      return true;
    },
    paths,
  });
  return { files, decided, alerts, held, write };
}

test.each([
  ["USE_EXISTING_RESULT", "use_existing"],
  ["DISCARD", "discard"],
  ["FORCE_REPROCESS", "reprocess"],
])("%s decides every duplicate of its key that waits, and its file goes", async (action, decision) => {
  const { files, decided, write } = decisions("book", "other", "book");
  const path = write("book", JSON.stringify({ action, nonce: "1" }));
  expect(await files.read(start)).toBe(2);
  expect(decided).toEqual([`book: ${decision}, decision.json`, `book: ${decision}, decision.json`]);
  expect(existsSync(path)).toBe(false);
  write("book", JSON.stringify({ action: "DISCARD" }));
  expect([await files.read(start), decided.length]).toEqual([0, 2]);
});

test.each(['{"action": "DISC', '{"action": "KEEP"}', '"DISCARD"', "null"])(
  "%j is waited for, then put aside with an alert, and decides nothing",
  async (text) => {
    const { files, decided, alerts, write, held } = decisions("book");
    const path = write("book", text);
    await files.read(start);
    await files.read(addMs(start, 4999));
    expect([existsSync(path), alerts]).toEqual([true, []]);
    await files.read(addMs(start, 5000));
    expect([readdirSync(held("book")), alerts, decided]).toEqual([["decision.json.invalid"], ["intake.decision_invalid:book"], []]);
  },
);

test("a file that is finished in time decides, and the next one has its own time to be finished", async () => {
  const { files, decided, alerts, write } = decisions("book", "book");
  write("book", '{"action": "DISC');
  await files.read(start);
  write("book", '{"action": "DISCARD"}');
  expect(await files.read(addMs(start, 5000))).toBe(2);
  write("book", '{"action": "DISC');
  await files.read(addMs(start, 6000));
  expect([decided.length, alerts]).toEqual([2, []]);
});

test("a link or a folder in a decision's place is put aside, and what it leads to stays", async () => {
  const { files, alerts, held } = decisions("link", "folder");
  const precious = join(tempDir("outside"), "precious.json");
  writeFileSync(precious, '{"action": "DISCARD"}');
  mkdirSync(held("link"), { recursive: true });
  symlinkSync(precious, join(held("link"), "decision.json"));
  mkdirSync(join(held("folder"), "decision.json"), { recursive: true });
  await files.read(start);
  await files.read(addMs(start, 5000));
  expect(alerts.toSorted()).toEqual(["intake.decision_invalid:folder", "intake.decision_invalid:link"]);
  expect(readFileSync(precious, "utf8")).toBe('{"action": "DISCARD"}');
});

test("while nothing is held the folder is looked for each 10 s, and at once when a file is held", async () => {
  const { files, write, held } = decisions("book");
  await files.read(start);
  write("book", '{"action": "DISCARD"}');
  expect(await files.read(addMs(start, 9999))).toBe(0);
  expect(await files.read(addMs(start, 10_000))).toBe(1);
  const again = decisions("book");
  await again.files.read(start);
  again.write("book", '{"action": "DISCARD"}');
  again.files.expect();
  expect(await again.files.read(start)).toBe(1);
  rmSync(held("book"), { recursive: true });
});

test("of more keys than one tick looks at, every one has its turn", async () => {
  const keys = Array.from({ length: 501 }, (_, at) => `k${at}`);
  const { files, decided, write } = decisions(...keys);
  for (const key of keys) write(key, '{"action": "DISCARD"}');
  expect(await files.read(start)).toBe(500);
  expect(await files.read(start)).toBe(1);
  expect(new Set(decided).size).toBe(501);
});
