import { type BenchOptions, type Figure, figure, plainFigure, unmeasured } from "../figure.ts";
import { preparePeers } from "../prepare-peers.ts";

/** Ours: an embedded worker on SQLite, synchronous=FULL, every run recorded. The peer as it comes: synchronous=NORMAL, no record of runs. */
export const embeddedCells = [
  { key: "200 outstanding", concurrency: 10, outstandingMax: 200, atLeast: 4.5 },
  { key: "concurrency 100, nothing ahead", concurrency: 100, outstandingMax: 100, atLeast: 4 },
  { key: "concurrency 10, nothing ahead", concurrency: 10, outstandingMax: 10, atLeast: 1.4 },
] as const;

export async function embedded({ quick, rounds = quick ? 1 : 7, say, runCell }: BenchOptions): Promise<readonly Figure[]> {
  const { plainjob: missing } = preparePeers(say);
  const [jobs, peerJobs] = quick ? [10_000, 3000] : [60_000, 15_000];
  const ratios = new Map<string, number[]>(embeddedCells.map(({ key }) => [key, []]));
  const speeds = new Map<string, number[]>(embeddedCells.map(({ key }) => [key, []]));
  const processor = new Map<string, number[]>(embeddedCells.map(({ key }) => [key, []]));
  const enqueueRatios: number[] = [];
  const enqueueSpeeds: number[] = [];
  const peerSpeeds: number[] = [];
  const peerEnqueues: number[] = [];
  const peerProcessor: number[] = [];
  for (let round = 1; round <= rounds; round++) {
    const peer = missing === undefined ? await runCell("peers/plainjob.js", { jobs: peerJobs }) : undefined;
    if (peer !== undefined) {
      peerSpeeds.push(peer["perSecond"] ?? Number.NaN);
      peerEnqueues.push(peer["enqueuePerSecond"] ?? Number.NaN);
      peerProcessor.push(peer["cpuUsPerJob"] ?? Number.NaN);
    }
    const enqueued: number[] = [];
    for (const { key, concurrency, outstandingMax } of embeddedCells) {
      const ours = await runCell("cells/embedded.ts", { jobs: outstandingMax === 10 ? jobs / 2 : jobs, concurrency, outstandingMax });
      const perSecond = ours["perSecond"] ?? Number.NaN;
      speeds.get(key)?.push(perSecond);
      processor.get(key)?.push(ours["cpuUsPerJob"] ?? Number.NaN);
      enqueued.push(ours["enqueuePerSecond"] ?? Number.NaN);
      if (peer !== undefined) ratios.get(key)?.push(perSecond / (peer["perSecond"] ?? Number.NaN));
      say(
        `round ${round}/${rounds} ${key}: ${Math.round(perSecond)}/s, ${ours["cpuUsPerJob"]?.toFixed(1)} us of processor a job, ` +
          `plainjob ${Math.round(peer?.["perSecond"] ?? Number.NaN)}/s`,
      );
    }
    const best = Math.max(...enqueued);
    enqueueSpeeds.push(best);
    if (peer !== undefined) enqueueRatios.push(best / (peer["enqueuePerSecond"] ?? Number.NaN));
  }
  const ratio = (name: string, atLeast: number, samples: readonly number[] | undefined): Figure =>
    missing === undefined
      ? figure(name, "x plainjob", { atLeast }, samples ?? [])
      : unmeasured(name, "x plainjob", `>= ${atLeast}`, missing);
  return [
    ...embeddedCells.map(({ key, atLeast }) => ratio(`embedded, claim to settled, ${key}`, atLeast, ratios.get(key))),
    ratio("embedded, enqueue in batches of 1,000", 1, enqueueRatios),
    ...embeddedCells.map(({ key }) => plainFigure(`embedded, claim to settled, ${key}`, "jobs/s", speeds.get(key) ?? [])),
    plainFigure("embedded, enqueue in batches of 1,000", "jobs/s", enqueueSpeeds),
    ...embeddedCells.map(({ key }) => plainFigure(`embedded, processor time of a job, ${key}`, "us", processor.get(key) ?? [])),
    ...(missing === undefined
      ? [
          plainFigure("plainjob, claim to settled", "jobs/s", peerSpeeds),
          plainFigure("plainjob, enqueue in batches of 1,000", "jobs/s", peerEnqueues),
          plainFigure("plainjob, processor time of a job", "us", peerProcessor),
        ]
      : []),
  ];
}
