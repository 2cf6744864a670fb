import { expect, test } from "vitest";
import { asItemId, asJobId, asRunId } from "../../domain/ids.ts";
import { traceparentOf } from "./trace-context.ts";

test("runs of one item share a trace and have spans of their own, in the form of the standard", () => {
  const first = traceparentOf({ itemId: asItemId(7), jobId: asJobId(1), runId: asRunId(11) });
  const second = traceparentOf({ itemId: asItemId(7), jobId: asJobId(2), runId: asRunId(2 ** 40 + 12) });
  const other = traceparentOf({ itemId: null, jobId: asJobId(7), runId: asRunId(13) });
  for (const each of [first, second, other]) expect(each).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
  expect(first.slice(3, 35)).toBe(second.slice(3, 35));
  expect(first.slice(36)).not.toBe(second.slice(36));
  expect(other.slice(3, 35)).not.toBe(first.slice(3, 35));
});
