import { expect, test } from "vitest";
import { walFigures } from "./wal-records.ts";

test("commits and index entries are counted, also an entry that goes into a full page", () => {
  const records = [
    { kind: "Heap/INSERT", count: 10, bytes: 1000, images: 0 },
    { kind: "Btree/INSERT_LEAF", count: 18, bytes: 1200, images: 50 },
    { kind: "Btree/SPLIT_R", count: 2, bytes: 9000, images: 8192 },
    { kind: "Btree/INSERT_UPPER", count: 2, bytes: 130, images: 0 },
    { kind: "Transaction/COMMIT", count: 1, bytes: 40, images: 0 },
  ];
  expect(walFigures(records)).toEqual({ bytes: 11_370, imageBytes: 8242, indexInsertions: 20, commits: 1 });
});
