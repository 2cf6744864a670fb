import type { BenchOptions, Figure } from "../figure.ts";
import { machineFacts, sqliteVersion } from "../machine.ts";
import { peerVersions } from "../prepare-peers.ts";
import { chosenCells, type QueueCell, queueCells } from "../queue/cells.ts";
import { measureNames } from "../queue/measures.ts";
import { Readings } from "../queue/readings.ts";
import { runRounds } from "../queue/run-rounds.ts";
import { queueTargets } from "../queue/targets.ts";
import { writeReport } from "../queue/write-report.ts";
import { CellServers, missingOf } from "../servers/cell-servers.ts";

/** The queue beside other queues: every cell once a round, ratios within the round. */
export async function queue({ quick, rounds = quick ? 1 : 7, only, report, say, runCell }: BenchOptions): Promise<readonly Figure[]> {
  const facts = machineFacts();
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
  const targets = queueTargets.map((target) => readings.target(target));
  if (report !== undefined) {
    const versions = [...servers.versions, ...peerVersions(), sqliteVersion()];
    writeReport(report, "queue", {
      title: "The queue beside other queues",
      rounds,
      facts: [...facts, ...versions],
      targets,
      cells,
      readings,
    });
  }
  return [
    ...targets,
    ...cells.flatMap(({ name }) => measureNames.flatMap(({ key, label, unit }) => readings.plain(`${name}${label}`, unit, name, key))),
  ];
}
