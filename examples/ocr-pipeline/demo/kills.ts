import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { api } from "../../../src/protocol/api/index.ts";
import type { Client } from "../../../src/protocol/client.ts";
import { after } from "./daemon.ts";

type LiveRun = Awaited<ReturnType<typeof liveOcrRuns>>[number];

/** What was killed, and how the work went on. */
export interface Recovery {
  readonly what: string;
  readonly verdict: string;
  readonly recoveredInMs: number;
  readonly how: string;
}

export async function liveOcrRuns(client: Client) {
  const { runs } = await client.call(api.listRuns, { query: { limit: 100 } });
  return runs.filter((run) => run.queue === "comics/ocr" && run.state === "started" && run.process !== null && hasProgress(run.progress));
}

/** SIGKILL of a running OCR process: seen by its exit record, run again from the last whole page. */
export async function killCommand(client: Client, run: LiveRun): Promise<Recovery> {
  const killedAt = Date.now();
  process.kill(pidOf(run), "SIGKILL");
  const { ended, next } = await nextRun(client, run);
  return {
    what: `SIGKILL of the OCR process, pid ${pidOf(run)} (job ${run.jobId}, attempt ${run.attempt})`,
    verdict: ended.message ?? ended.reason ?? "",
    recoveredInMs: (next.startedAt ?? Date.now()) - killedAt,
    how: `attempt ${next.attempt} started`,
  };
}

/** SIGKILL of a wrapper: its command goes on under its own identity; its end without an exit record is an unknown outcome. */
export async function killWrapper(client: Client, folder: string, run: LiveRun): Promise<Recovery> {
  const started = await readFile(join(folder, "data", "runs", String(run.id), "started"), "latin1");
  const wrapperPid = Number(started.split(" ")[1]);
  process.kill(wrapperPid, "SIGKILL");
  const pid = pidOf(run);
  process.kill(pid, 0);
  const { ended, next } = await nextRun(client, run);
  return {
    what: `SIGKILL of the wrapper, pid ${wrapperPid} (job ${run.jobId}, attempt ${run.attempt})`,
    verdict: `the OCR process, pid ${pid}, worked on; at its end: ${ended.message ?? ended.reason ?? ""}`,
    recoveredInMs: (next.startedAt ?? Date.now()) - (ended.endedAt ?? Date.now()),
    how: `attempt ${next.attempt} started after the verdict`,
  };
}

async function nextRun(client: Client, run: LiveRun) {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const { runs } = await client.call(api.getJob, { params: { id: run.jobId } });
    const ended = runs.find((each) => each.id === run.id);
    const next = runs.find((each) => each.attempt > run.attempt && each.startedAt !== null);
    if (ended?.state === "ended" && next !== undefined) return { ended, next };
    if (ended?.state === "ended" && ended.outcome === "succeeded") throw new Error(`Run ${run.id} had finished before it could be killed.`);
    if (Date.now() > deadline) throw new Error(`Job ${run.jobId} was not run again within a minute.`);
    await after(20);
  }
}

function pidOf(run: LiveRun): number {
  if (run.process === null) throw new Error(`Run ${run.id} has no process.`);
  return run.process.pid;
}

function hasProgress(progress: unknown): boolean {
  return typeof progress === "object" && progress !== null && "done" in progress && Number(progress.done) >= 1;
}
