import { BenchError } from "../bench-error.ts";

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

/** A drain measures from a fifth of its jobs on: code that is new to a process is several times slower, and workers live for days. */
const warmUpShare = 0.2;

/** How many jobs a cell works off: two to six seconds on two cores of a shared machine, and on PostgreSQL as many as its peers. */
export function queueCells(quick: boolean): readonly QueueCell[] {
  const sized = (size: number): number => (quick ? Math.max(60, Math.round(size / 20)) : size);
  return [...ours(sized), ...peers(sized), ...plainjob(sized)];
}

type Sized = (size: number) => number;

function unmeasuredOf(jobs: number): number {
  return Math.floor(jobs * warmUpShare);
}

const concurrencies = [1, 10, 100] as const;

function ours(sized: Sized): readonly QueueCell[] {
  const subjects = [
    { subject: "wakeful-sqlite", ahead: 240_000, nothing: { 1: 5000, 10: 50_000, 100: 150_000 }, singles: 3000 },
    { subject: "wakeful-postgres", ahead: 75_000, nothing: { 1: 2000, 10: 30_000, 100: 75_000 }, singles: 1500 },
  ] as const;
  return subjects.flatMap(({ subject, ahead: many, nothing, singles }) => [
    ...concurrencies.flatMap((concurrency) =>
      [500, 200, 0].map((ahead): QueueCell => {
        const jobs = sized(ahead === 0 ? nothing[concurrency] : many);
        return {
          name: `${subject}, ${ahead === 0 ? "nothing" : ahead} ahead, c=${concurrency}`,
          subject,
          file: "cells/queue-drain.ts",
          question: { jobs, unmeasured: unmeasuredOf(jobs), concurrency, outstandingMax: ahead + concurrency },
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

interface PeerSizes {
  /** Jobs to work off by concurrency; with `seconds`, only as many as that time allows. */
  readonly drain: Readonly<Record<"defaults" | "best", Readonly<Record<1 | 10 | 100, number>>>>;
  readonly seconds?: number | undefined;
  readonly singles: number;
  readonly batched: number;
  /** Settings whose worker sleeps for seconds between two looks have no latency worth waiting for. */
  readonly latencyOf: readonly ("defaults" | "best")[];
}

function peer(subject: Subject, sized: Sized, sizes: PeerSizes): readonly QueueCell[] {
  const file = `peers/${subject}.js`;
  const each = (["defaults", "best"] as const).flatMap((settings): readonly QueueCell[] => [
    ...concurrencies.map((concurrency): QueueCell => {
      const seconds = settings === "defaults" ? sizes.seconds : undefined;
      const jobs = sized(sizes.drain[settings][concurrency]);
      return {
        name: `${subject} ${settings}, c=${concurrency}`,
        subject,
        file,
        question: { what: "drain", settings, concurrency, jobs, seconds, unmeasured: seconds === undefined ? unmeasuredOf(jobs) : 0 },
      };
    }),
    ...(sizes.latencyOf.includes(settings)
      ? latency({ subject, label: `${subject} ${settings}`, file, jobs: sized(200), more: { settings } })
      : []),
  ]);
  const question = { what: "enqueue", singles: sized(sizes.singles), batched: sized(sizes.batched) };
  return [...each, { name: `${subject}, enqueue`, subject, file, question }];
}

function peers(sized: Sized): readonly QueueCell[] {
  const best = { 1: 75_000, 10: 75_000, 100: 75_000 };
  return [
    ...peer("graphile-worker", sized, {
      drain: { defaults: { 1: 3000, 10: 10_000, 100: 10_000 }, best },
      singles: 1500,
      batched: 40_000,
      latencyOf: ["defaults", "best"],
    }),
    ...peer("pg-boss", sized, {
      // Half a job a second and local worker.
      drain: { defaults: { 1: 1000, 10: 1000, 100: 4000 }, best },
      seconds: 6,
      singles: 1500,
      batched: 40_000,
      latencyOf: ["best"],
    }),
    ...peer("bullmq", sized, {
      drain: { defaults: { 1: 10_000, 10: 40_000, 100: 40_000 }, best: { 1: 10_000, 10: 40_000, 100: 40_000 } },
      singles: 10_000,
      batched: 40_000,
      latencyOf: ["defaults", "best"],
    }),
  ];
}

function plainjob(sized: Sized): readonly QueueCell[] {
  const subject = "plainjob";
  const file = "peers/plainjob.js";
  const jobs = sized(40_000);
  return [
    { name: `${subject}, drain`, subject, file, question: { what: "drain", jobs, unmeasured: unmeasuredOf(jobs) } },
    { name: `${subject}, enqueue`, subject, file, question: { what: "enqueue", singles: sized(20_000), batched: sized(200_000) } },
    ...latency({ subject, label: `${subject} best`, file, jobs: sized(200), more: { pollMs: 10 } }),
  ];
}

/** @throws {BenchError} `bad_option`: the pattern matches none. */
export function chosenCells(cells: readonly QueueCell[], only: RegExp | undefined): readonly QueueCell[] {
  const chosen = cells.filter(({ name }) => only?.test(name) ?? true);
  if (chosen.length === 0)
    throw new BenchError("bad_option", `No cell's name matches ${String(only)}: ${cells.map(({ name }) => name).join("; ")}.`);
  return chosen;
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
