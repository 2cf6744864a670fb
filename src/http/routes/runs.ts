import { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import type { FastifyInstance } from "fastify";
import { asRunId } from "../../domain/ids.ts";
import { dataPaths, runDirOf } from "../../files/data-paths.ts";
import { RunOperations } from "../../operations/runs.ts";
import { runFiles } from "../../processes/run-folder/run-files.ts";
import { api } from "../../protocol/api/index.ts";
import { defaultPageLimit } from "../../protocol/wire.ts";
import { readLog } from "../log-reader.ts";
import { mount, mountStream } from "../mount.ts";
import type { DaemonServices } from "../services.ts";
import { liveRunView, runView } from "../views.ts";

/** How often a followed log is read: often enough to read along, seldom enough to cost nothing. */
const followMs = 250;

const stillAlive = { alive: true } as const;

export function runRoutes(app: FastifyInstance, { store, daemon, events }: DaemonServices): void {
  const paths = dataPaths(daemon.dataDir);
  const operations = new RunOperations({ store, emit: events.emit });

  mount(app, api.listRuns, async ({ query }) => {
    const { after, limit = defaultPageLimit } = query;
    const runs = await store.runs.listAllLive({ limit, after: after === undefined ? undefined : asRunId(after) });
    return { runs: runs.map(liveRunView) };
  });

  mount(app, api.getRun, async ({ params }) => ({ run: runView(await operations.existing(asRunId(params.id))) }));

  mountStream(app, api.runLogs, async ({ params, query }, _request, reply) => {
    const runId = asRunId(params.id);
    await operations.existing(runId);
    const files = runFiles(runDirOf(paths, runId));
    const { stream = "stdout", follow = false, raw = false, tailBytes } = query;
    const closed = new AbortController();
    reply.raw.once("close", () => closed.abort());
    const text = readLog({
      path: stream === "stdout" ? files.stdoutLog : files.stderrLog,
      raw,
      tailBytes,
      goesOn: async () => follow && !closed.signal.aborted && (await store.runs.get(runId))?.endedAt === null,
      // A broken wait means that the client has gone: `goesOn` then ends the reader.
      pause: () => delay(followMs, undefined, { signal: closed.signal, ref: false }).catch(() => undefined),
    });
    await reply.type("text/plain; charset=utf-8").send(Readable.from(text, { objectMode: false }));
  });

  mount(app, api.beatRun, async ({ params }) => {
    await operations.beat(asRunId(params.id));
    return stillAlive;
  });
  mount(app, api.progressRun, async ({ params, body }) => {
    await operations.beat(asRunId(params.id), body.progress);
    return stillAlive;
  });
}
