export type Subject = "wakeful-sqlite" | "wakeful-postgres" | "graphile-worker" | "pg-boss" | "bullmq" | "plainjob";

/** One process of the `queue` bench: what it measures of whom, and with which settings. */
export interface QueueCell {
  readonly name: string;
  readonly subject: Subject;
  readonly file: string;
  readonly question: Readonly<Record<string, unknown>>;
}

/** PostgreSQL's cells get a database of their own each, Redis' a server. */
export const serverOf: Readonly<Record<Subject, "postgres" | "redis" | undefined>> = {
  "wakeful-sqlite": undefined,
  "wakeful-postgres": "postgres",
  "graphile-worker": "postgres",
  "pg-boss": "postgres",
  bullmq: "redis",
  plainjob: undefined,
};

/** How many jobs a cell works off: two or three seconds on two cores of a shared machine. */
export function queueCells(quick: boolean): readonly QueueCell[] {
  const sized = (size: number): number => (quick ? Math.max(200, Math.round(size / 20)) : size);
  return [...ours(sized), ...graphileWorker(sized), ...plainjob(sized)];
}

type Sized = (size: number) => number;

const concurrencies = [1, 10, 100] as const;

function ours(sized: Sized): readonly QueueCell[] {
  const subjects = [
    { subject: "wakeful-sqlite", ahead: 100_000, nothing: { 1: 4000, 10: 20_000, 100: 60_000 }, singles: 3000 },
    { subject: "wakeful-postgres", ahead: 60_000, nothing: { 1: 1500, 10: 12_000, 100: 30_000 }, singles: 1500 },
  ] as const;
  return subjects.flatMap(({ subject, ahead: many, nothing, singles }) => [
    ...concurrencies.flatMap((concurrency) =>
      [500, 200, 0].map((ahead): QueueCell => {
        const jobs = ahead === 0 ? nothing[concurrency] : many;
        return {
          name: `${subject}, ${ahead === 0 ? "nothing" : ahead} ahead, c=${concurrency}`,
          subject,
          file: "cells/queue-drain.ts",
          question: { jobs: sized(jobs), concurrency, outstandingMax: ahead + concurrency },
        };
      }),
    ),
    {
      name: `${subject}, enqueue`,
      subject,
      file: "cells/queue-enqueue.ts",
      question: { singles: sized(singles), batched: sized(60_000) },
    },
    ...latency({ subject, label: subject, file: "cells/queue-latency.ts", jobs: sized(200) }),
  ]);
}

interface LatencyCells {
  readonly subject: Subject;
  readonly label: string;
  readonly file: string;
  readonly jobs: number;
  readonly more?: object | undefined;
  readonly everyMs?: readonly [number, number] | undefined;
}

function latency({ subject, label, file, jobs, more, everyMs = [10, 30] }: LatencyCells): readonly QueueCell[] {
  const places = serverOf[subject] === undefined ? (["this process"] as const) : (["this process", "another process"] as const);
  return places.map((from) => ({
    name: `${label}, start latency from ${from}`,
    subject,
    file,
    question: { what: "latency", jobs, from, everyMs, ...more },
  }));
}

function graphileWorker(sized: Sized): readonly QueueCell[] {
  const subject = "graphile-worker";
  const file = "peers/graphile-worker.js";
  const sizes = { defaults: { 1: 3000, 10: 6000, 100: 6000 }, best: { 1: 40_000, 10: 40_000, 100: 40_000 } } as const;
  const each = (["defaults", "best"] as const).flatMap((settings): readonly QueueCell[] => [
    ...concurrencies.map(
      (concurrency): QueueCell => ({
        name: `${subject} ${settings}, c=${concurrency}`,
        subject,
        file,
        question: { what: "drain", settings, concurrency, jobs: sized(sizes[settings][concurrency]) },
      }),
    ),
    ...latency({ subject, label: `${subject} ${settings}`, file, jobs: sized(200), more: { settings } }),
  ]);
  return [
    ...each,
    { name: `${subject}, enqueue`, subject, file, question: { what: "enqueue", singles: sized(1500), batched: sized(40_000) } },
  ];
}

function plainjob(sized: Sized): readonly QueueCell[] {
  const subject = "plainjob";
  const file = "peers/plainjob.js";
  return [
    { name: `${subject}, drain`, subject, file, question: { what: "drain", jobs: sized(20_000) } },
    { name: `${subject}, enqueue`, subject, file, question: { what: "enqueue", singles: sized(20_000), batched: sized(200_000) } },
    ...latency({ subject, label: `${subject} best`, file, jobs: sized(200), more: { pollMs: 10 } }),
  ];
}

/** Cells that are compared stand side by side; every second round goes the other way. */
export function inTurns(cells: readonly QueueCell[], round: number): readonly QueueCell[] {
  const sorted = cells
    .map((cell) => ({ cell, place: placeOf(cell) }))
    .sort((a, b) => a.place - b.place)
    .map(({ cell }) => cell);
  return round % 2 === 1 ? sorted : sorted.toReversed();
}

function placeOf({ subject, question }: QueueCell): number {
  const engine = serverOf[subject] === "postgres" ? 1000 : 0;
  const kind = question["what"] === "latency" ? 200 : "singles" in question ? 100 : 0;
  return engine + kind + (typeof question["concurrency"] === "number" ? question["concurrency"] : 10);
}
