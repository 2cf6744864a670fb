import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { loopNames } from "../../src/config/loop-names.ts";
import { oneStage, startTestDaemon, submit, untilItem } from "../support/daemon.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";

const everything = { "log.json": true, "log.level": "debug" };

/** The events in a log of one JSON object per line, in order. */
const eventsIn = (log: readonly string[]): readonly Record<string, unknown>[] =>
  log.map((line) => JSON.parse(line) as Record<string, unknown>);

test("a daemon's log tells of its start, its worker, a run's start and progress, its loops' ticks and the worker's end", async () => {
  const script = `printf '{"page":3}' > "$WAKEFUL_PROGRESS_FILE"; while [ ! -e "$WAKEFUL_WORK_DIR/go" ]; do sleep 0.05; done`;
  const { client, daemon, dataDir, log, stop } = await startTestDaemon({ yaml: oneStage(script), flags: everything });
  const id = await submit(client, "told");
  await until(() => log.some((line) => line.includes('"run.progressed"')), { what: "the run's progress in the log" });
  await writeFile(join(dataDir, "work/told/go"), "");
  const { runs, jobs } = await untilItem(client, id, "done");
  await stop();
  const of = { runId: runs[0]?.id, jobId: jobs[0]?.id, queue: "p/work" };
  const events = eventsIn(log);
  expect(events).toContainEqual(expect.objectContaining({ event: "daemon.started", level: "info", startSeq: 1, listen: daemon.url }));
  expect(events).toContainEqual(expect.objectContaining({ event: "run.started", level: "debug", ...of, attempt: 1 }));
  expect(events).toContainEqual(expect.objectContaining({ event: "run.progressed", ...of, progress: { page: 3 } }));
  expect(events).toContainEqual(expect.objectContaining({ event: "loop.ticked", loop: "outbox", failed: 0 }));
  const [worker] = events.filter(({ event, kind }) => event === "worker.registered" && kind === "command");
  expect(events).toContainEqual(expect.objectContaining({ event: "worker.left", workerId: worker?.["workerId"] }));
});

test("a daemon whose store was lost or restored says that its ids continue in a new range", async () => {
  const folder = tempDir("older-store");
  const first = await startTestDaemon({ yaml: oneStage("true"), folder, flags: everything });
  await first.stop();
  for (const ending of ["", "-wal", "-shm"]) await rm(join(first.dataDir, `wakeful.db${ending}`), { force: true });
  const second = await startTestDaemon({ yaml: oneStage("true"), folder, flags: everything });
  expect(eventsIn(second.log)).toContainEqual(expect.objectContaining({ event: "store.epoch_raised", level: "warn", epoch: 1 }));
});

test("the switch of each loop in the configuration is the one that the loop starts with", async () => {
  const switches = Object.fromEntries(loopNames.map((name) => [`loops.${name}.enabled`, false]));
  const { log } = await startTestDaemon({ yaml: oneStage("true"), flags: { ...everything, ...switches } });
  const started = eventsIn(log).filter(({ event }) => event === "loop.started");
  for (const loop of loopNames) expect(started).toContainEqual(expect.objectContaining({ loop, enabled: false }));
});
