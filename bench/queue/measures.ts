/** What cells of the queue measure, with the words for it. */
export const measureNames = [
  { key: "perSecond", label: "", unit: "jobs/s" },
  { key: "single", label: ", one call at a time", unit: "jobs/s" },
  { key: "concurrent", label: ", 16 calls in flight", unit: "jobs/s" },
  { key: "batch", label: ", 1,000 a call", unit: "jobs/s" },
  { key: "p50Ms", label: ", p50", unit: "ms" },
  { key: "p95Ms", label: ", p95", unit: "ms" },
  { key: "p99Ms", label: ", p99", unit: "ms" },
  { key: "maxMs", label: ", worst", unit: "ms" },
  { key: "cpuUsPerJob", label: ", processor time of node a job", unit: "us" },
  { key: "processorUs", label: ", processor time of the server a job", unit: "us" },
  { key: "statementUs", label: ", time in statements a job", unit: "us" },
  { key: "walBytes", label: ", WAL a job", unit: "bytes" },
  { key: "pageImageBytes", label: ", of it page images", unit: "bytes" },
  { key: "indexInsertions", label: ", index insertions a job", unit: "" },
  { key: "commits", label: ", commits a job", unit: "" },
  { key: "claimMs", label: ", claim of 100, p50", unit: "ms" },
  { key: "claimP95Ms", label: ", claim of 100, p95", unit: "ms" },
  { key: "diskBytes", label: ", disk a job", unit: "bytes" },
  { key: "logBytes", label: ", log a job", unit: "bytes" },
  { key: "hotShare", label: ", HOT updates", unit: "of all" },
] as const;

/** A cell's numbers on one line, for progress. */
export function summaryOf(values: Readonly<Record<string, unknown>>): string {
  return measureNames
    .flatMap(({ key, unit }) => (typeof values[key] === "number" ? [`${key} ${Number(values[key].toPrecision(4))} ${unit}`.trim()] : []))
    .join(", ");
}
