import type { Config } from "../config/config.ts";
import { messageOf } from "../domain/errors.ts";
import type { ExposedDirectory } from "../files/restrict-directory.ts";
import type { Store } from "../store/port/store.ts";
import { EventBus } from "../telemetry/event-bus.ts";
import { logSubscriber } from "../telemetry/log-subscriber.ts";

export interface EventLogOptions {
  readonly store: Pick<Store, "now">;
  readonly log: Config["log"];
  /** Where log lines go. Default: standard output. */
  readonly writeLog: ((line: string) => void) | undefined;
  /** What the first line tells: the data directory was open to others. */
  readonly exposedDirectory: ExposedDirectory | undefined;
}

/** The daemon's events, with their log listening from the first one on. */
export function openEventLog({ store, log: { level, json }, writeLog, exposedDirectory }: EventLogOptions): EventBus {
  const bus = new EventBus(
    () => store.now(),
    (thrown) => process.stderr.write(`a subscriber of events failed: ${messageOf(thrown)}\n`),
  );
  bus.subscribe(logSubscriber({ level, json, write: writeLog }));
  if (exposedDirectory !== undefined) {
    const { path, mode, left } = exposedDirectory;
    if (left === null) bus.emit("data_dir.restricted", { path, mode });
    else bus.emit("data_dir.exposed", { path, mode, reason: left });
  }
  return bus;
}
