import type { Config } from "../config/config.ts";
import { messageOf } from "../domain/errors.ts";
import type { OpenDirectory } from "../files/close-directory.ts";
import type { Store } from "../store/port/store.ts";
import { EventBus } from "../telemetry/event-bus.ts";
import { logSubscriber } from "../telemetry/log-subscriber.ts";

export interface EventLogOptions {
  readonly store: Pick<Store, "now">;
  readonly log: Config["log"];
  /** Where log lines go. Default: standard output. */
  readonly writeLog: ((line: string) => void) | undefined;
  /** What the first line tells: the data directory was open to others. */
  readonly openDirectory: OpenDirectory | undefined;
}

/** The daemon's events, with their log listening from the first one on. */
export function openEventLog({ store, log: { level, json }, writeLog, openDirectory }: EventLogOptions): EventBus {
  const bus = new EventBus(
    () => store.now(),
    (thrown) => process.stderr.write(`a subscriber of events failed: ${messageOf(thrown)}\n`),
  );
  bus.subscribe(logSubscriber({ level, json, write: writeLog }));
  if (openDirectory !== undefined) {
    const { path, mode, left } = openDirectory;
    if (left === null) bus.emit("data_dir.closed", { path, mode });
    else bus.emit("data_dir.open", { path, mode, reason: left });
  }
  return bus;
}
