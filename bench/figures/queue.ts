import type { BenchOptions, Figure } from "../figure.ts";
import { chosenCells, type QueueCell, queueCells } from "../queue/cells.ts";
import { measureNames } from "../queue/measures.ts";
import { Readings } from "../queue/readings.ts";
import { runRounds } from "../queue/run-rounds.ts";
import { queueTargets } from "../queue/targets.ts";
import { CellServers, missingOf } from "../servers/cell-servers.ts";

/** The queue beside other queues: every cell once a round, ratios within the round. */
export async function queue({ quick, rounds = quick ? 1 : 7, only, say, runCell }: BenchOptions): Promise<readonly Figure[]> {
  const missing = missingOf(say);
  const readings = new Readings();
  const cells: QueueCell[] = [];
  for (const cell of chosenCells(queueCells(quick), only)) {
    const why = missing(cell.subject);
    if (why === undefined) cells.push(cell);
    else {
      readings.fail(cell.name, why);
      say(`${cell.name} is skipped: ${why}`);
    }
  }
  const servers = await CellServers.start(cells);
  try {
    for (const version of servers.versions) say(version);
    await runRounds({ cells, rounds, servers, runCell, say }, readings);
  } finally {
    await servers.stop();
  }
  return [
    ...queueTargets.map((target) => readings.target(target)),
    ...cells.flatMap(({ name }) => measureNames.flatMap(({ key, label, unit }) => readings.plain(`${name}${label}`, unit, name, key))),
  ];
}
