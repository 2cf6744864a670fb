import { BenchError } from "../bench-error.ts";
import type { RunCell } from "../cell.ts";
import type { RunsCells } from "../servers/cell-servers.ts";
import { inTurns, type QueueCell } from "./cells.ts";
import { summaryOf } from "./measures.ts";
import type { Readings } from "./readings.ts";

export interface RoundsOptions {
  readonly cells: readonly QueueCell[];
  readonly rounds: number;
  readonly servers: RunsCells;
  readonly runCell: RunCell;
  readonly say: (line: string) => void;
}

/** Runs every cell once a round. One that fails is told of and does not end the others. */
export async function runRounds({ cells, rounds, servers, runCell, say }: RoundsOptions, readings: Readings): Promise<void> {
  for (let round = 1; round <= rounds; round++) {
    for (const cell of inTurns(cells, round)) {
      const where = `round ${round}/${rounds} ${cell.name}`;
      try {
        const values = await servers.run(cell, (question) => runCell(cell.file, question));
        readings.add(round, cell.name, values);
        say(`${where}: ${summaryOf(values)}`);
      } catch (thrown) {
        if (thrown instanceof BenchError && thrown.code === "interrupted") throw thrown;
        const why = thrown instanceof Error ? thrown.message : String(thrown);
        readings.fail(cell.name, `round ${round}: ${why}`);
        say(`${where} FAILED: ${why}`);
      }
    }
  }
}
