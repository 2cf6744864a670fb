import type { BenchOptions, Figure } from "../figure.ts";
import { machineFacts, sqliteVersion } from "../machine.ts";
import { chosenCells } from "../queue/cells.ts";
import { growthCells, growthTargets } from "../queue/growth-cells.ts";
import { measureNames } from "../queue/measures.ts";
import { Readings } from "../queue/readings.ts";
import { runRounds } from "../queue/run-rounds.ts";
import { writeReport } from "../queue/write-report.ts";
import { CellServers } from "../servers/cell-servers.ts";
import { withGrownStores } from "../servers/grown-stores.ts";

/** The queue as its tables grow, ours alone. */
export async function queueGrowth(options: BenchOptions): Promise<readonly Figure[]> {
  const { quick, rounds = quick ? 1 : 7, finished = quick ? 20_000 : 10_000_000, only, report, say, runCell } = options;
  const facts = machineFacts();
  const cells = chosenCells(growthCells(quick), only);
  const readings = new Readings();
  const servers = await CellServers.start(cells);
  try {
    for (const version of servers.versions) say(version);
    await withGrownStores({ cells, servers, finished, runCell, say }, (stores) =>
      runRounds({ cells, rounds, servers: stores, runCell, say }, readings),
    );
  } finally {
    await servers.stop();
  }
  const targets = growthTargets.map((target) => readings.target(target));
  if (report !== undefined) {
    const all = [...facts, ...servers.versions, sqliteVersion(), `${finished} finished jobs are "many"`];
    writeReport(report, "queue-growth", { title: "The queue as its tables grow", rounds, facts: all, targets, cells, readings });
  }
  return [
    ...targets,
    ...cells.flatMap(({ name }) => measureNames.flatMap(({ key, label, unit }) => readings.plain(`${name}${label}`, unit, name, key))),
  ];
}
