import type { Pulse } from "../loops/skeleton/pulse.ts";
import type { PausedWorkers } from "../operations/paused-workers.ts";

/** Learns at each beat which workers were paused or resumed through other daemons of the store. Returns the way to stop. */
export function readAtEachBeat(pulse: Pick<Pulse, "each">, paused: Pick<PausedWorkers, "refresh">): () => void {
  let reading = false;
  return pulse.each(() => {
    if (reading) return;
    reading = true;
    void paused
      .refresh()
      // A store that does not answer is reported by those who watch it; what was read last holds meanwhile.
      .catch(() => undefined)
      .finally(() => {
        reading = false;
      });
  });
}
