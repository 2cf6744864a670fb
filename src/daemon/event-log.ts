import type { Config } from "../config/config.ts";
import { messageOf } from "../domain/errors.ts";
import type { ExposedDirectory } from "../files/restrict-directory.ts";
import type { Store } from "../store/port/store.ts";
import { EventBus } from "../telemetry/event-bus.ts";
import { logSubscriber } from "../telemetry/log-subscriber.ts";
import { onceAMinute } from "../telemetry/outage-lines.ts";

/** Where the daemon's own texts go. None of these calls waits for a reader, or throws. */
export interface DaemonOutput {
  /** One line of the log. */
  log(line: string): void;
  /** What its handlers write to their standard output and error. */
  handlers(text: string): void;
  /** Calls `tell` when lines are written again after some were dropped, because nobody read them. */
  onDropped(tell: (lines: number) => void): void;
}

export interface EventLogOptions {
  readonly store: Pick<Store, "now">;
  readonly log: Config["log"];
  readonly output: DaemonOutput;
  /** What the first line tells: the data directory was open to others. */
  readonly exposedDirectory: ExposedDirectory | undefined;
}

/** The daemon's events, with their log listening from the first one on. */
export function openEventLog({ store, log: { level, json }, output, exposedDirectory }: EventLogOptions): EventBus {
  const bus = new EventBus(
    () => store.now(),
    (thrown) => output.log(`a subscriber of events failed: ${messageOf(thrown)}\n`),
  );
  bus.subscribe(onceAMinute(logSubscriber({ level, json, write: (line) => output.log(line) })));
  output.onDropped((lines) => bus.emit("log.dropped", { lines }));
  if (exposedDirectory !== undefined) {
    const { path, mode, left } = exposedDirectory;
    if (left === null) bus.emit("data_dir.restricted", { path, mode });
    else bus.emit("data_dir.exposed", { path, mode, reason: left });
  }
  return bus;
}
