import type { QueueCell, Subject } from "./cells.ts";
import type { QueueTarget } from "./targets.ts";

const engines = ["sqlite", "postgres"] as const;
type Engine = (typeof engines)[number];

const subjectOf = (engine: Engine): Subject => `wakeful-${engine}`;
const drainFile = "cells/queue-drain.ts";
const shape = { concurrency: 10, outstandingMax: 510 };

/** Whether a cell works on the store that is filled once for all rounds. */
export const isGrown = ({ question }: QueueCell): boolean => question["grown"] === true;

/** The queue, ours alone, as its tables grow. */
export function growthCells(quick: boolean): readonly QueueCell[] {
  const sized = (size: number): number => (quick ? Math.round(size / 30) : size);
  /** Speed counts from the job after the first `unmeasured`. */
  const warm = (jobs: number, unmeasured: number) => ({ jobs: sized(jobs), unmeasured: sized(unmeasured) });
  const onEach = engines.flatMap((engine): readonly QueueCell[] => {
    const subject = subjectOf(engine);
    const cell = (name: string, file: string, question: Readonly<Record<string, unknown>>): QueueCell => ({
      name: `${engine}, ${name}`,
      subject,
      file,
      question,
    });
    return [
      cell("few finished", drainFile, { ...shape, ...warm(100_000, 20_000), finished: 1000 }),
      cell("many finished", drainFile, { ...shape, ...warm(100_000, 20_000), grown: true }),
      cell("few queued", "cells/queue-claim.ts", { queued: 1000, claims: quick ? 20 : 110 }),
      cell("many queued", "cells/queue-claim.ts", { queued: sized(1_000_000), claims: quick ? 20 : 110 }),
      cell("nothing held", drainFile, { ...shape, ...warm(120_000, 60_000) }),
      cell("snapshot held", drainFile, { ...shape, ...warm(120_000, 60_000), held: true }),
    ];
  });
  const onServer = (name: string, file: string, question: Readonly<Record<string, unknown>>): QueueCell => ({
    name: `postgres, ${name}`,
    subject: "wakeful-postgres",
    file,
    question: { ...shape, ...question },
  });
  const membersFile = "cells/queue-members.ts";
  return [
    ...onEach,
    // Nothing takes away what a million jobs have left dead.
    onServer("never vacuumed", drainFile, { ...warm(1_000_000, 940_000), neverVacuumed: true }),
    onServer("one process", membersFile, { jobs: sized(120_000), members: 1 }),
    onServer("three processes", membersFile, { jobs: sized(120_000), members: 3 }),
  ];
}

/** What a job and its history took while the jobs' own table was the queue, measured by these cells. */
const diskBytesBefore: Readonly<Record<Engine, number>> = { sqlite: 230, postgres: 980 };

const perEngine = (engine: Engine): readonly QueueTarget[] => [
  {
    name: `${engine}, speed with many finished jobs`,
    unit: "x few finished",
    bound: { atLeast: 0.9 },
    of: `${engine}, many finished`,
    over: `${engine}, few finished`,
    key: "perSecond",
  },
  {
    name: `${engine}, claim with many queued jobs`,
    unit: "x few queued",
    bound: { atMost: 1.5 },
    of: `${engine}, many queued`,
    over: `${engine}, few queued`,
    key: "claimMs",
  },
  {
    name: `${engine}, speed while a transaction holds a snapshot through 60,000 jobs`,
    unit: "x nothing held",
    bound: { atLeast: 0.8 },
    of: `${engine}, snapshot held`,
    over: `${engine}, nothing held`,
    key: "perSecond",
  },
  {
    name: `${engine}, disk a job with its history`,
    unit: "bytes",
    bound: { atMost: Math.round(diskBytesBefore[engine] * 0.8) },
    of: `${engine}, nothing held`,
    key: "diskBytes",
  },
];

export const growthTargets: readonly QueueTarget[] = [
  ...engines.flatMap(perEngine),
  {
    name: "postgres, speed after a million jobs that no vacuum followed",
    unit: "x nothing held",
    bound: { atLeast: 0.8 },
    of: "postgres, never vacuumed",
    over: "postgres, nothing held",
    key: "perSecond",
  },
  {
    name: "postgres, three processes",
    unit: "x one process",
    bound: { atLeast: 0.9 },
    of: "postgres, three processes",
    over: "postgres, one process",
    key: "perSecond",
  },
];
