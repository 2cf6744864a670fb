import { expect, test } from "vitest";
import { pathId } from "./wire.ts";

test.each(["", " ", "-1", "0", "1.5", "1e3", "0x10", "NaN", "Infinity", "9007199254740992", "99999999999999999999", "７"])(
  "%j is not an id",
  (text) => {
    expect(pathId.safeParse(text).success).toBe(false);
  },
);
