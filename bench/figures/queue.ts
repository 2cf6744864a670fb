import { BenchError } from "../bench-error.ts";
import type { BenchOptions, Figure } from "../figure.ts";
import { peerNames, preparePeers } from "../prepare-peers.ts";
import { inTurns, type QueueCell, queueCells, serverOf } from "../queue/cells.ts";
import { measureNames } from "../queue/measures.ts";
import { Readings } from "../queue/readings.ts";
import { queueTargets } from "../queue/targets.ts";
import { type BenchPostgres, startBenchPostgres } from "../servers/postgres.ts";

/** The queue beside other queues: every cell once a round, ratios within the round. */
export async function queue({ quick, rounds = quick ? 1 : 7, only, say, runCell }: BenchOptions): Promise<readonly Figure[]> {
  const missing = preparePeers(say);
  const readings = new Readings();
  const cells: QueueCell[] = [];
  for (const cell of queueCells(quick)) {
    if (only !== undefined && !only.test(cell.name)) continue;
    const peer = peerNames.find((name) => name === cell.subject);
    const why = peer === undefined ? undefined : missing[peer];
    if (why === undefined) cells.push(cell);
    else readings.fail(cell.name, why);
  }
  if (cells.length === 0) throw new BenchError("bad_option", "No cell of queue has such a name, or its peers are missing.");
  const postgres = cells.some(({ subject }) => serverOf[subject] === "postgres") ? await startBenchPostgres() : undefined;
  try {
    if (postgres !== undefined) say(postgres.version);
    for (let round = 1; round <= rounds; round++) {
      for (const cell of inTurns(cells, round)) {
        try {
          const values = await runWithServer(cell, postgres, (question) => runCell(cell.file, question));
          readings.add(round, cell.name, values);
          say(`round ${round}/${rounds} ${cell.name}: ${summary(values)}`);
        } catch (thrown) {
          if (thrown instanceof BenchError && thrown.code === "interrupted") throw thrown;
          const why = thrown instanceof Error ? thrown.message : String(thrown);
          readings.fail(cell.name, `round ${round}: ${why}`);
          say(`round ${round}/${rounds} ${cell.name} FAILED: ${why}`);
        }
      }
    }
  } finally {
    await postgres?.stop();
  }
  return [
    ...queueTargets.map((target) => readings.target(target)),
    ...cells.flatMap(({ name }) => measureNames.flatMap(({ key, label, unit }) => readings.plain(`${name}${label}`, unit, name, key))),
  ];
}

type Values = Readonly<Record<string, unknown>>;

async function runWithServer(
  { subject, question }: QueueCell,
  postgres: BenchPostgres | undefined,
  run: (question: object) => Promise<Values>,
): Promise<Values> {
  if (serverOf[subject] !== "postgres" || postgres === undefined) return await run(question);
  return await postgres.inDatabase((url) => run({ ...question, url, serverPid: postgres.pid }));
}

function summary(values: Values): string {
  return measureNames
    .flatMap(({ key, unit }) => (typeof values[key] === "number" ? [`${key} ${Number(values[key].toPrecision(4))} ${unit}`] : []))
    .join(", ");
}
