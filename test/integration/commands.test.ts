import { closeSync, mkdirSync, openSync, readFileSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync, writeSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { runDirOf } from "../../src/files/data-paths.ts";
import { forever, lives, startOne, untilItem, untilRun } from "../support/command-runs.ts";
import { commandWorld, filesOf } from "../support/command-world.ts";
import { makeFifo } from "../support/fifo.ts";
import { until } from "../support/until.ts";

describe("a command", () => {
  test("its process is on record as soon as it runs; its exit is recorded first, its job settled last [B-15, B-16]", async () => {
    const { world, item } = await startOne('read go < gate; echo \'{"pages":3}\' > "$WAKEFUL_OUTPUT_FILE"', { stage: { cwd: "." } });
    const gate = join(world.world.baseDir, "gate");
    makeFifo(gate);
    const run = await untilRun(world, item, "started");
    const command = await world.command(run.id);
    await until(async () => (await world.runOf(item)).process?.pid === command.pid, { everyMs: 5 });
    await writeFile(gate, "go\n");
    await untilItem(world, item, "done");
    expect(await world.runOf(item)).toMatchObject({ state: "ended", outcome: "succeeded", exitCode: 0 });
    const order = world.world.events.map((event) => event.name).filter((name) => name === "run.exited" || name === "run.ended");
    expect(order).toEqual(["run.exited", "run.ended"]);
    const [visit] = await world.store.items.visits(item.id);
    expect(visit).toMatchObject({ state: "passed", output: '{"pages":3}' });
    expect(await world.store.upkeep.checkInvariants()).toEqual([]);
  });

  test("killed: its job runs again at once, without a loop's help", async () => {
    const { world, item } = await startOne(`[ "$WAKEFUL_ATTEMPT" = 2 ] && exit 0; ${forever}`, { stage: { maxLosses: 3 } });
    const run = await untilRun(world, item, "started");
    world.table.signal((await world.command(run.id)).pid, "SIGKILL");
    await untilItem(world, item, "done");
    expect(await world.runOf(item)).toMatchObject({
      outcome: "lost",
      spent: "loss",
      exitCode: 137,
      message: expect.stringContaining("signal 9"),
    });
    expect((await world.job(item.id)).attempts).toBe(1);
  });

  test("its wrapper killed: the run goes on, and ends with its outcome unknown", async () => {
    const { world, item } = await startOne(forever);
    const run = await untilRun(world, item, "started");
    const command = await world.command(run.id);
    await until(async () => (await world.runOf(item)).process?.pid === command.pid, { everyMs: 5 });
    const { wrapper } = await world.runOf(item);
    if (wrapper === null) throw new Error("no wrapper on record");
    world.table.signal(wrapper.pid, "SIGKILL");
    await until(() => world.probe.observe(wrapper).kind === "dead", { everyMs: 5 });
    for (let tick = 0; tick < 3; tick++) await world.tickReaper();
    expect((await world.runOf(item)).state).toBe("started");
    world.table.signal(command.pid, "SIGKILL");
    await until(() => world.probe.observe(command).kind === "dead", { everyMs: 5 });
    await world.tickReaper();
    await world.tickReaper();
    expect(await world.runOf(item)).toMatchObject({ state: "ended", outcome: "lost", exitCode: null });
    // The worker sees that nothing of the run is left, and starts the next attempt.
    await world.stopBlocked();
    await untilRun(world, item, "started", 2);
  });

  test("ends by a signal of its own: lost, unless its stage names the code", async () => {
    const { world, item } = await startOne("kill -TERM $$; sleep 5", { stage: { exitCodes: { retryOn: [], failOn: [143], holdOn: [] } } });
    await untilItem(world, item, "failed");
    expect(await world.runOf(item)).toMatchObject({ outcome: "failed", exitCode: 143 });
  });

  test("at its timeout: stopped although it ignores TERM, its reason stays ours, and its next attempt waits for the proof", async () => {
    const { world, item } = await startOne(`trap '' TERM; ${forever}`, { stage: { timeoutMs: 1000, attempts: 2 } });
    const run = await untilRun(world, item, "started");
    const command = await world.command(run.id);
    world.advance(1000);
    await untilRun(world, item, "ended");
    expect(await world.runOf(item)).toMatchObject({ outcome: "timed_out", reason: "timeout" });
    expect(await world.job(item.id)).toMatchObject({ state: "queued", blockedBy: run.id });
    expect(world.probe.observe(command).kind).toBe("alive");
    await world.stopBlocked();
    expect(world.probe.observe(command).kind).toBe("dead");
    expect(await world.runOf(item)).toMatchObject({ outcome: "timed_out", exitCode: null });
    await untilRun(world, item, "started", 2);
  });

  test("was slow to prepare: its timeout counts from its start, not from its claim", async () => {
    const world = await commandWorld("sleep 0.2", { stage: { timeoutMs: 1000, attempts: 1 } });
    const visits = world.store.items.visits.bind(world.store.items);
    const told = vi.spyOn(world.store.items, "visits").mockImplementationOnce(async (itemId) => {
      world.advance(10_000);
      return await visits(itemId);
    });
    const item = await world.addItem();
    (await world.worker()).start();
    await untilItem(world, item, "done");
    expect(told).toHaveBeenCalled();
    const run = await world.runOf(item);
    expect(run).toMatchObject({ outcome: "succeeded" });
    expect((run.startedAt ?? 0) - run.reservedAt).toBe(10_000);
  });

  test("takes a secret from a FIFO: refused, unspent, and the reader of files is not lost", async () => {
    const world = await commandWorld("true", { stage: { attempts: 1, envFiles: { SECRET: "secret" } } });
    makeFifo(join(world.world.baseDir, "secret"));
    const item = await world.addItem();
    (await world.worker()).start();
    const run = await until(async () =>
      (await world.store.runs.ofJob((await world.job(item.id)).id)).find(({ state }) => state === "ended"),
    );
    expect(run).toMatchObject({ outcome: "never_started", spent: "nothing", message: expect.stringContaining("is not a regular file") });
    rmSync(join(world.world.baseDir, "secret"));
    await writeFile(join(world.world.baseDir, "secret"), "x");
    await untilItem(world, item, "done");
  });

  test("leaves a daemon behind: it is stopped before the item moves on", async () => {
    const { world, item } = await startOne('setsid sh -c "echo \\$\\$ > stray; exec sleep 600" & while [ ! -s stray ]; do :; done', {
      stage: { cwd: "." },
    });
    await untilItem(world, item, "done");
    const pid = Number(readFileSync(join(world.world.baseDir, "stray"), "utf8"));
    expect(lives(world, pid)).toBe(false);
    expect(world.world.eventsOf("run.strays_stopped")).toMatchObject([{ pids: [pid] }]);
  });

  test("leaves a daemon that hides its origin: the held life pipe keeps the job from being given back", async () => {
    const script = 'setsid env -i /bin/sh -c "echo \\$\\$ > stray; exec sleep 600" & while [ ! -s stray ]; do :; done';
    const { world, item } = await startOne(script, { stage: { cwd: ".", attempts: 1 } });
    await untilRun(world, item, "ended");
    const job = await world.job(item.id);
    const pid = Number(readFileSync(join(world.world.baseDir, "stray"), "utf8"));
    const alive = lives(world, pid);
    if (alive) {
      expect(job.blockedBy).not.toBeNull();
      world.table.signal(pid, "SIGKILL");
      await until(() => !lives(world, pid), { everyMs: 5 });
      await world.stopBlocked();
    }
    expect(await world.job(item.id)).toMatchObject({ state: "done", blockedBy: null });
  });

  test("floods its log without a line end: cut, noted, and the run goes on", async () => {
    const script = "head -c 400000 /dev/zero | tr '\\0' x; read go < gate";
    const { world, item } = await startOne(script, { stage: { cwd: ".", log: { maxBytes: 8192 } } });
    const gate = join(world.world.baseDir, "gate");
    makeFifo(gate);
    const run = await untilRun(world, item, "started");
    await until(() => world.world.eventsOf("log.truncated").length > 0 && statSync(filesOf(world, run.id).stdoutLog).size <= 8192, {
      everyMs: 10,
    });
    expect(readFileSync(filesOf(world, run.id).stdoutLog, "utf8")).toContain("bytes of older output were dropped");
    await writeFile(gate, "go\n");
    await untilItem(world, item, "done");
  });

  test.each([
    ["no JSON", "echo '{' > \"$WAKEFUL_OUTPUT_FILE\""],
    ["too much", "head -c 1100000 /dev/zero | tr '\\0' 1 > \"$WAKEFUL_OUTPUT_FILE\""],
    ["what is too deep", "for side in '[' ']'; do head -c 3000 /dev/zero | tr '\\0' \"$side\"; done > \"$WAKEFUL_OUTPUT_FILE\""],
    ["a FIFO", 'mkfifo "$WAKEFUL_OUTPUT_FILE"'],
    ["a link", 'ln -s /etc/hostname "$WAKEFUL_OUTPUT_FILE"'],
    ["a folder", 'mkdir "$WAKEFUL_OUTPUT_FILE"'],
  ])("returns %s: a failed attempt, bad_output, and nobody hangs on it", async (_what, script) => {
    const { world, item } = await startOne(script, { stage: { attempts: 1 } });
    await untilItem(world, item, "failed");
    expect(await world.runOf(item)).toMatchObject({ outcome: "failed", reason: "bad_output", exitCode: 0 });
  });

  test("in a folder that is missing: nothing ran, and each try spends an attempt, never at full speed", async () => {
    const { world, item } = await startOne("true", {
      stage: { cwd: "nowhere", attempts: 2, retry: { minMs: 1000, maxMs: 1000, factor: 2 } },
    });
    for (let round = 0; round < 8 && (await world.store.items.get(item.id))?.state === "active"; round++) {
      await until(async () => ["scheduled", "failed"].includes((await world.job(item.id)).state), { everyMs: 5 });
      world.advance(5000);
      await world.store.jobs.promoteDue(10);
    }
    await untilItem(world, item, "failed");
    const runs = await world.store.runs.ofJob((await world.job(item.id)).id);
    expect(runs.map((run) => [run.outcome, run.spent])).toEqual([
      ["failed", "attempt"],
      ["failed", "attempt"],
    ]);
    expect(runs.at(-1)?.message).toContain("does not exist");
  });

  test("its run folder exists already: the epoch is raised, the run ends unspent, and the next has a new id", async () => {
    const world = await commandWorld("true");
    const item = await world.addItem();
    mkdirSync(runDirOf(world.world.paths, 1 as never));
    const { start } = await world.worker();
    start();
    await untilItem(world, item, "done");
    expect(await world.runOf(item)).toMatchObject({ id: 1, outcome: "never_started", reason: "run_dir_exists", spent: "nothing" });
    expect((await world.runOf(item, 2)).id).toBeGreaterThan(2 ** 40);
    expect(await world.store.upkeep.storeEpoch()).toBe(1);
  });

  test("no heartbeat file that is a folder, a link, huge, binary or of the future makes it ill", async () => {
    const { world, item } = await startOne(forever);
    const run = await untilRun(world, item, "started");
    const { heartbeat } = filesOf(world, run.id);
    const progressAt = async () => (await world.runOf(item)).progressAt;
    mkdirSync(heartbeat);
    const elsewhere = join(world.world.paths.workDir, item.dir, "work.heartbeat");
    symlinkSync("/etc/hostname", elsewhere);
    await world.command(run.id);
    const looks = world.world.events.length;
    // Repeated, because a new file counts by its age.
    const noticed = async (change: () => void): Promise<void> => {
      world.advance(10_000);
      await until(async () => {
        change();
        return ((await progressAt()) ?? 0) > world.world.clock.now() - 5000;
      });
      expect(await progressAt()).toBeLessThanOrEqual(world.world.clock.now());
    };
    let page = 0;
    await noticed(() => writeFileSync(filesOf(world, run.id).progress, `{"page":${++page}}`));
    rmSync(heartbeat, { recursive: true });
    await noticed(() => writeFileSync(heartbeat, Buffer.alloc(5_000_000, 255)));
    let future = 4_000_000_000;
    await noticed(() => utimesSync(heartbeat, ++future, future));
    expect(world.world.events.slice(looks).filter((event) => event.name === "loop.subject_failed")).toEqual([]);
  });

  test("one run's unreadable log does not silence the heartbeat of another", async () => {
    const world = await commandWorld(`touch "$WAKEFUL_HEARTBEAT_FILE"; ${forever}`, { stage: { log: { maxBytes: 10 } } });
    const [bad, good] = [await world.addItem("bad"), await world.addItem("good")];
    const { start } = await world.worker();
    start();
    const run = await untilRun(world, bad, "started");
    await untilRun(world, good, "started");
    // maxBytes below the least that can be kept: limiting this log fails each time.
    writeFileSync(filesOf(world, run.id).stdoutLog, "x".repeat(100));
    await until(() => world.world.eventsOf("loop.subject_failed").length > 0, { everyMs: 5 });
    const { heartbeat } = filesOf(world, (await world.runOf(good)).id);
    world.advance(60_000);
    writeFileSync(heartbeat, "again");
    await until(async () => ((await world.runOf(good)).progressAt ?? 0) > world.world.clock.now() - 10_000, { everyMs: 5 });
  });
});

describe("adoption", () => {
  test("five running commands go on under the next daemon; none is started again", async () => {
    const world = await commandWorld("read go < gate", { stage: { cwd: "." } });
    makeFifo(join(world.world.baseDir, "gate"));
    const items = await Promise.all(["a", "b", "c", "d", "e"].map((key) => world.addItem(key)));
    const first = await world.worker({ dead: true });
    first.start();
    for (const item of items) await untilRun(world, item, "started");
    await first.worker.leave();
    const second = await world.worker();
    expect(await world.adoptOrRequeue(second.worker)).toEqual({ adopted: 5, requeued: 0, stopped: 0 });
    expect(second.worker.held()).toHaveLength(5);
    second.start();
    const gate = openSync(join(world.world.baseDir, "gate"), "w");
    writeSync(gate, "go\ngo\ngo\ngo\ngo\n");
    for (const item of items) await untilItem(world, item, "done");
    closeSync(gate);
    for (const item of items) {
      expect(await world.store.runs.ofJob((await world.job(item.id)).id)).toHaveLength(1);
      expect(await world.runOf(item)).toMatchObject({ ownerEpoch: 2, outcome: "succeeded", workerId: second.workerId });
    }
    expect(await world.store.upkeep.checkInvariants()).toEqual([]);
  });

  test("a command that died with its daemon is lost at the next start, which does not need the job-reaper for it, and is tried again", async () => {
    const world = await commandWorld(forever);
    const item = await world.addItem();
    const first = await world.worker({ dead: true });
    first.start();
    const run = await untilRun(world, item, "started");
    const command = await world.command(run.id);
    await first.worker.leave();
    for (const process of [run.wrapper, command]) if (process !== null) world.table.signal(process.pid, "SIGKILL");
    await until(() => [run.wrapper, command].every((each) => each === null || world.probe.observe(each).kind === "dead"));
    const second = await world.worker();
    expect(await world.adoptOrRequeue(second.worker)).toMatchObject({ adopted: 0, requeued: 1 });
    expect(await world.runOf(item)).toMatchObject({ outcome: "lost", reason: "supervisor_dead", spent: "attempt" });
    await world.stopBlocked();
    second.start();
    await until(async () => (await world.store.runs.ofJob(run.jobId)).some(({ id, state }) => id !== run.id && state === "started"));
    expect(await world.store.upkeep.checkInvariants()).toEqual([]);
  });

  test("off: every running job goes back to the queue, once its process is stopped; a tick afterwards changes nothing [B-64]", async () => {
    const world = await commandWorld(forever);
    const items = [await world.addItem("a"), await world.addItem("b")];
    const first = await world.worker({ dead: true });
    first.start();
    for (const item of items) await untilRun(world, item, "started");
    const commands = await Promise.all(items.map(async (item) => await world.command((await world.runOf(item)).id)));
    await first.worker.leave();
    const second = await world.worker();
    expect(await world.adoptOrRequeue(second.worker, { enabled: false })).toMatchObject({ adopted: 0, requeued: 2 });
    for (const item of items) expect((await world.job(item.id)).state).toBe("queued");
    const before = await Promise.all(items.map((item) => world.job(item.id)));
    await world.tickReaper();
    expect(await Promise.all(items.map((item) => world.job(item.id)))).toEqual(before);
    expect(world.reaper.details()).toMatchObject({ reaped_total: 0 });
    await world.stopBlocked();
    for (const command of commands) expect(world.probe.observe(command).kind).toBe("dead");
    for (const item of items) expect(await world.job(item.id)).toMatchObject({ state: "queued", blockedBy: null });
  });

  test("off: a job on its last attempt goes back to the queue like any other, unspent and blocked until its process is stopped; then it runs again [B-64]", async () => {
    const world = await commandWorld(forever, { stage: { attempts: 1 } });
    const item = await world.addItem();
    const first = await world.worker({ dead: true });
    first.start();
    const run = await untilRun(world, item, "started");
    const command = await world.command(run.id);
    await first.worker.leave();
    const second = await world.worker();
    expect(await world.adoptOrRequeue(second.worker, { enabled: false })).toMatchObject({ adopted: 0, requeued: 1 });
    expect(await world.job(item.id)).toMatchObject({ state: "queued", attempts: 0, blockedBy: run.id });
    expect(await world.runOf(item)).toMatchObject({ outcome: "released", reason: "adoption_off", spent: "nothing" });
    expect((await world.store.outbox.due(10)).filter(({ kind }) => kind === "alert")).toEqual([]);
    second.start();
    expect(await world.store.runs.ofJob((await world.job(item.id)).id)).toHaveLength(1);
    await world.stopBlocked();
    expect(world.probe.observe(command).kind).toBe("dead");
    second.worker.lookAgain();
    await until(async () => (await world.store.runs.ofJob(run.jobId)).some(({ id, state }) => id !== run.id && state === "started"));
    expect(await world.store.upkeep.checkInvariants()).toEqual([]);
  });

  test("off: a command that died with its daemon goes back to the queue for nothing three times; then its budget ends it, and that is no requeue [B-64]", async () => {
    const world = await commandWorld(forever, { stage: { attempts: 1 } });
    const item = await world.addItem();
    const requeued: number[] = [];
    for (let death = 1; death <= 4; death++) {
      const { worker, start } = await world.worker({ dead: true });
      start();
      const run = await until(async () =>
        (await world.store.runs.ofJob((await world.job(item.id)).id)).find(({ state }) => state === "started"),
      );
      const command = await world.command(run.id);
      await until(async () => (await world.store.runs.get(run.id))?.process?.pid === command.pid);
      await worker.leave();
      for (const process of [run.wrapper, command]) if (process !== null) world.table.signal(process.pid, "SIGKILL");
      await until(() => [run.wrapper, command].every((each) => each === null || world.probe.observe(each).kind === "dead"));
      const next = await world.worker();
      requeued.push((await world.adoptOrRequeue(next.worker, { enabled: false })).requeued);
      await next.worker.leave();
      await world.stopBlocked();
    }
    expect(requeued).toEqual([1, 1, 1, 0]);
    expect(await world.job(item.id)).toMatchObject({ state: "failed" });
  });

  test("an exit that nobody saw is settled by the next daemon with its outcome, strays stopped", async () => {
    const script = "read go < gate; setsid sleep 600 & echo $! > stray";
    const world = await commandWorld(script, { stage: { cwd: "." } });
    makeFifo(join(world.world.baseDir, "gate"));
    const item = await world.addItem();
    const first = await world.worker({ dead: true });
    first.start();
    const run = await untilRun(world, item, "started");
    await world.command(run.id);
    await first.worker.leave();
    await writeFile(join(world.world.baseDir, "gate"), "go\n");
    await until(() => readFileSync(filesOf(world, run.id).exit, "utf8"), { everyMs: 5 });
    const second = await world.worker();
    expect(await world.adoptOrRequeue(second.worker)).toMatchObject({ adopted: 1 });
    await untilItem(world, item, "done");
    const stray = Number(readFileSync(join(world.world.baseDir, "stray"), "utf8"));
    expect(lives(world, stray)).toBe(false);
  });

  test("runs of a living supervisor are left alone", async () => {
    const { world, item } = await startOne(forever);
    await untilRun(world, item, "started");
    const second = await world.worker();
    expect(await world.adoptOrRequeue(second.worker)).toEqual({ adopted: 0, requeued: 0, stopped: 0 });
  });

  test("a crash between the take-over and looking after the run: the next daemon takes it over again", async () => {
    const world = await commandWorld(forever);
    const item = await world.addItem();
    const first = await world.worker({ dead: true });
    first.start();
    const run = await untilRun(world, item, "started");
    await first.worker.leave();
    const second = await world.worker({ dead: true });
    expect(await world.adoptOrRequeue(second.worker)).toMatchObject({ adopted: 1 });
    await second.worker.leave();
    const third = await world.worker();
    expect(await world.adoptOrRequeue(third.worker)).toMatchObject({ adopted: 1 });
    expect(await world.runOf(item)).toMatchObject({ id: run.id, ownerEpoch: 3, state: "started" });
  });

  test("an item that cannot be read is not taken over: nobody would look after it", async () => {
    const world = await commandWorld(forever);
    const item = await world.addItem();
    const first = await world.worker({ dead: true });
    first.start();
    await untilRun(world, item, "started");
    await first.worker.leave();
    const second = await world.worker();
    const { get } = world.store.items;
    Object.assign(world.store.items, {
      get: async () => {
        throw new Error("busy");
      },
    });
    expect(await world.adoptOrRequeue(second.worker)).toMatchObject({ adopted: 0 });
    Object.assign(world.store.items, { get });
    expect(await world.runOf(item)).toMatchObject({ ownerEpoch: 1 });
    expect(await world.adoptOrRequeue(second.worker)).toMatchObject({ adopted: 1 });
  });

  test("a supervisor that was paused while its run was adopted: its writes are refused, and it stops nothing", async () => {
    const world = await commandWorld(forever, { stage: { timeoutMs: 60_000 } });
    const item = await world.addItem();
    const paused = await world.worker({ dead: true });
    paused.start();
    const run = await untilRun(world, item, "started");
    const command = await world.command(run.id);
    const second = await world.worker();
    const [live] = await world.store.runs.listLive([run.id]);
    if (live === undefined) throw new Error("not live");
    expect(await second.worker.adopt(live, "test")).toBe(true);
    // The replaced worker wakes: its record of an exit is refused, and its stop does not reach the run.
    expect(
      await world.store.runs.recordExit({ runId: run.id, ownerEpoch: run.ownerEpoch, exitCode: 0, checkAt: world.world.clock.now() }),
    ).toMatchObject({ kind: "lost" });
    await paused.worker.stopAll();
    expect(await world.runOf(item)).toMatchObject({ state: "started", ownerEpoch: 2 });
    expect(world.probe.observe(command).kind).toBe("alive");
    expect(second.worker.held()).toEqual([run.id]);
  });

  test("what lives on disk and is unknown to the store, which is older, is stopped at the start", async () => {
    const world = await commandWorld(forever);
    const item = await world.addItem();
    const first = await world.worker({ dead: true });
    first.start();
    const run = await untilRun(world, item, "started");
    const command = await world.command(run.id);
    await first.worker.leave();
    const { get, listAllLive } = world.store.runs;
    Object.assign(world.store.runs, { get: async () => undefined, listAllLive: async () => [] });
    const second = await world.worker();
    expect(await world.adoptOrRequeue(second.worker)).toMatchObject({ stopped: 1 });
    expect(world.probe.observe(command).kind).toBe("dead");
    Object.assign(world.store.runs, { get, listAllLive });
  });
});
