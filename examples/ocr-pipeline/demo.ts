import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { api } from "../../src/protocol/api/index.ts";
import { after, DemoDaemon } from "./demo/daemon.ts";
import { killCommand, killWrapper, liveOcrRuns, type Recovery } from "./demo/kills.ts";
import { ProgressLine } from "./demo/progress.ts";

/**
 * Comics become searchable PDFs while an OCR process, a wrapper and the daemon are killed. Exit 0: every PDF says what its comic
 * said. `--keep` leaves the daemon running; `--comics N`, `--pages N`.
 */
const example = import.meta.dirname;
const cli = resolve(example, "../../dist/bin/wakeful.js");
const run = promisify(execFile);
const args = process.argv.slice(2);
const keep = args.includes("--keep");
const comics = numberOf("--comics", 4);
const pages = numberOf("--pages", 8);

const folder = await mkdtemp(join(tmpdir(), "wakeful-demo-"));
const daemon = new DemoDaemon({ folder, cli });
const line = new ProgressLine();
const recoveries: Recovery[] = [];
let killedJob: number | undefined;
const startedAt = performance.now();

try {
  await main();
} catch (thrown) {
  line.clear();
  console.error(thrown instanceof Error ? thrown.message : thrown);
  console.error(`The demo failed. Its folder is kept: ${folder} (daemon.log, data/)`);
  await daemon.kill("SIGINT");
  process.exit(1);
}

async function main(): Promise<void> {
  say("Wakeful turns comics into searchable PDFs, and keeps doing so while its processes are killed.\n");
  await prepareFolder();
  const readyMs = await daemon.start();
  say(`daemon ready after ${Math.round(readyMs)} ms, pid ${daemon.pid}, data in ${join(folder, "data")}`);
  await run(process.execPath, [join(example, "make-comics.js"), join(folder, "in"), "--count", String(comics), "--pages", String(pages)]);
  say(`${comics} comics of ${pages} pages dropped into in/\n`);

  const [first] = await ocrRuns(1);
  if (first === undefined) throw new Error("No OCR run was seen.");
  tell(await killCommand(daemon.client, first));
  killedJob = first.jobId;

  const [second] = await ocrRuns(1, new Set([first.jobId]));
  if (second === undefined) throw new Error("No second OCR run was seen.");
  const wrapperKill = killWrapper(daemon.client, folder, second);
  // It resolves when that OCR has ended; until then the demo goes on with the others.
  wrapperKill.catch(() => undefined);
  while ((await progress()) === "working" && !(await settledWithin(wrapperKill, 200)));
  tell(await wrapperKill);

  tell(await killDaemon());
  while ((await progress()) === "working") await after(250);
  line.clear();
  await report();
}

async function prepareFolder(): Promise<void> {
  const yaml = await readFile(join(example, "wakeful.yaml"), "utf8");
  // Any free port: the command line finds the daemon by its data directory. The steps stay where their packages are.
  const adapted = yaml.replace("listen: 127.0.0.1:7070", "listen: 127.0.0.1:0").replaceAll("steps/", `${example}/steps/`);
  await writeFile(join(folder, "wakeful.yaml"), adapted);
  for (const name of ["in", "out"]) await mkdir(join(folder, name));
}

async function ocrRuns(count: number, exceptJobs: ReadonlySet<number> = new Set()) {
  for (;;) {
    const runs = (await liveOcrRuns(daemon.client)).filter((each) => !exceptJobs.has(each.jobId));
    if (runs.length >= count) return runs;
    if ((await progress()) === "over") throw new Error("The comics were done before a process could be killed; try --pages 12.");
    await after(50);
  }
}

/** SIGKILL of the daemon in the middle of everything: its commands work on and are adopted by the next one. */
async function killDaemon(): Promise<Recovery> {
  const before = await ocrRuns(1);
  const pid = daemon.pid;
  await daemon.kill("SIGKILL");
  const alive = before.filter((each) => each.process !== null && isAlive(each.process.pid));
  const killedAt = performance.now();
  await daemon.start();
  const recoveredInMs = performance.now() - killedAt;
  let adopted = 0;
  for (const each of alive) {
    const { run: now } = await daemon.client.call(api.getRun, { params: { id: each.id } });
    if (now.ownerEpoch > each.ownerEpoch && now.attempt === each.attempt) adopted++;
  }
  if (adopted !== alive.length) throw new Error(`Of ${alive.length} running commands only ${adopted} were adopted.`);
  const verdict = `${alive.length} OCR process${alive.length === 1 ? "" : "es"} worked on without it`;
  return { what: `SIGKILL of the daemon, pid ${pid}`, verdict, recoveredInMs, how: `restarted; ${adopted} adopted, none restarted` };
}

async function progress(): Promise<"working" | "over"> {
  const { done, failed, total } = await line.show(daemon.client);
  return total === comics && done + failed === total ? "over" : "working";
}

async function report(): Promise<void> {
  const { items } = await daemon.client.call(api.listItems, { query: { limit: 100 } });
  const stuck = items.filter((item) => item.state !== "done");
  if (stuck.length > 0)
    throw new Error(`Not done: ${stuck.map((item) => `${item.label} (${item.state}: ${item.error ?? ""})`).join(", ")}`);
  const checked = await run(process.execPath, [join(example, "verify-text.js"), join(folder, "out")]);
  say("\nThe text in every PDF, compared with what was drawn:");
  say(indent(checked.stdout));
  if (killedJob !== undefined) {
    const { text } = await daemon.client.call(api.why, { query: { job: killedJob } });
    say(`\n\`wakeful why ${killedJob}\` tells the story of the job whose process was killed:`);
    say(indent(text));
  }
  say("\nSummary");
  for (const { what, recoveredInMs, how } of recoveries) say(`  ${what}: ${how}, ${Math.round(recoveredInMs)} ms`);
  const pdfs = (await readdir(join(folder, "out"))).filter((name) => name.endsWith(".pdf"));
  say(`  ${pdfs.length} of ${comics} PDFs, ${((performance.now() - startedAt) / 1000).toFixed(0)} s in all`);
  if (pdfs.length !== comics) throw new Error("PDFs are missing.");
  if (keep) {
    daemon.release();
    say(`\nThe daemon goes on, pid ${daemon.pid}: cd ${folder} && node ${cli} ls`);
    process.exit(0);
  }
  await daemon.kill("SIGTERM");
  await rm(folder, { recursive: true, force: true });
}

function tell(recovery: Recovery): void {
  recoveries.push(recovery);
  line.clear();
  say(`\n${recovery.what}\n  verdict: ${recovery.verdict}\n  ${recovery.how}, ${Math.round(recovery.recoveredInMs)} ms\n`);
}

async function settledWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  return (await Promise.race([promise.then(() => "settled" as const), after(ms)])) === "settled";
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    // Ended by itself in the meantime.
    return false;
  }
}

function numberOf(flag: string, fallback: number): number {
  const at = args.indexOf(flag);
  const value = at === -1 ? fallback : Number(args[at + 1]);
  if (!Number.isInteger(value) || value < 2) throw new Error(`${flag} must be a whole number of at least 2`);
  return value;
}

function say(text: string): void {
  console.log(text);
}

function indent(text: string): string {
  return text
    .trimEnd()
    .split("\n")
    .map((each) => `  ${each}`)
    .join("\n");
}
