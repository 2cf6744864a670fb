import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { runDirOf } from "../../src/files/data-paths.ts";
import { probeLifePipe } from "../../src/processes/run-folder/life-pipe.ts";
import { shellNames, toolsOf } from "../support/command-run.ts";
import { startOne, untilItem, untilRun } from "../support/command-runs.ts";
import { type CommandWorld, commandWorld, filesOf } from "../support/command-world.ts";
import { makeFifo } from "../support/fifo.ts";
import { skipTest } from "../support/skips.ts";
import { until } from "../support/until.ts";

type Item = Awaited<ReturnType<CommandWorld["addItem"]>>;
const budget = { attempts: 3, maxLosses: 3 };

/** The job once nothing of it is to come any more. The delay of each retry passes on the test's clock. */
async function jobAtItsEnd(world: CommandWorld, item: Item) {
  return await until(
    async () => {
      const job = await world.job(item.id);
      if (job.state === "scheduled") {
        world.advance(300_000);
        await world.store.jobs.promoteDue(10);
      }
      return ["done", "failed", "held"].includes(job.state) ? job : undefined;
    },
    { everyMs: 5, what: `the job of ${item.key} to end` },
  );
}

const hasGit = (): boolean => {
  try {
    execFileSync("git", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
};

describe.each(shellNames)("under a wrapper on %s", (shell) => {
  test("a command that ends with a code above 128 has failed: its attempts are spent, and no loss [F-2.3]", async () => {
    if ((await toolsOf(shell)) === undefined) return;
    const { world, item } = await startOne("exit 129", { stage: budget, shell });
    expect(await jobAtItsEnd(world, item)).toMatchObject({ state: "failed", attempts: 3, losses: 0 });
    expect(await world.runOf(item, 3)).toMatchObject({ outcome: "failed", spent: "attempt", exitCode: 129, message: "exit code 129" });
  });

  test("a command that a signal killed is still a loss, and the signal is named without a doubt [F-2.3]", async () => {
    if ((await toolsOf(shell)) === undefined) return;
    const { world, item } = await startOne('[ "$WAKEFUL_ATTEMPT" = 2 ] && exit 0; kill -HUP $$; sleep 60', { stage: budget, shell });
    await untilItem(world, item, "done");
    const lost = await world.runOf(item);
    expect(lost).toMatchObject({ outcome: "lost", spent: "loss", exitCode: 129, message: "killed: signal 1" });
  });
});

test("git refuses an option with 129, which is no signal [F-2.3]", async (context) => {
  if (!hasGit()) skipTest(context, "git is not installed");
  const { world, item } = await startOne("git init -q r && cd r && exec git commit --no-such-option", { stage: budget });
  expect(await jobAtItsEnd(world, item)).toMatchObject({ state: "failed", attempts: 3, losses: 0 });
  expect(await world.runOf(item)).toMatchObject({ exitCode: 129, message: "exit code 129" });
});

test("a code that only looks like a signal that no shell tells of stays a loss in doubt [F-2.3]", async () => {
  const { world, item } = await startOne('[ "$WAKEFUL_ATTEMPT" = 2 ] && exit 0; exit 130', { stage: budget });
  await untilItem(world, item, "done");
  expect(await world.runOf(item)).toMatchObject({ outcome: "lost", message: expect.stringContaining("signal 2, or exit code 130") });
});

/** A run whose command ends only after its worker has died. Its worker never learns how. */
async function endedUnseen(end: string, signal?: NodeJS.Signals) {
  const world = await commandWorld(`read go < gate; ${end}`, { stage: { ...budget, cwd: "." } });
  const gate = join(world.world.baseDir, "gate");
  makeFifo(gate);
  const item = await world.addItem();
  const { worker, start } = await world.worker({ dead: true });
  start();
  const { id } = await untilRun(world, item, "started");
  const command = await world.command(id);
  await worker.leave();
  if (signal === undefined) await writeFile(gate, "go\n");
  else world.table.signal(command.pid, signal);
  // Its wrapper, which records the end, has ended too.
  await until(async () => (await probeLifePipe(runDirOf(world.world.paths, id))) === "released", { everyMs: 5, what: "the wrapper's end" });
  return { world, item, runId: id };
}

async function untilReaped(world: CommandWorld, item: Item) {
  return await until(
    async () => {
      await world.tickReaper();
      const run = await world.runOf(item);
      return run.state === "ended" ? run : undefined;
    },
    { everyMs: 5, what: `the run of ${item.key} to be reaped` },
  );
}

describe("whose worker died before it ended, and which the job-reaper settles", () => {
  test("a code above 128 is a failure, a signal a loss [F-2.3]", async () => {
    const code = await endedUnseen("exit 143");
    expect(await untilReaped(code.world, code.item)).toMatchObject({ outcome: "failed", spent: "attempt", message: "exit code 143" });
    const killed = await endedUnseen("exit 0", "SIGTERM");
    expect(await untilReaped(killed.world, killed.item)).toMatchObject({ outcome: "lost", spent: "loss", message: "killed: signal 15" });
  });

  test("the record of a wrapper of an earlier version leaves it open, unless no such signal kills [F-2.3]", async () => {
    for (const [status, outcome, message] of [
      [137, "lost", "killed: signal 9, or exit code 137"],
      [145, "failed", "exit code 145"],
    ] as const) {
      const { world, item, runId } = await endedUnseen(`exit ${status}`);
      rmSync(filesOf(world, runId).endedBy);
      expect(await untilReaped(world, item)).toMatchObject({ exitCode: status, outcome, message });
    }
  });
});
