import { readFileSync, statSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { seconds } from "../../src/domain/time.ts";
import { api } from "../../src/protocol/api/index.ts";
import type { Client } from "../../src/protocol/client.ts";
import { FakeClock } from "../../src/runtime/fake-clock.ts";
import { configuredLoops } from "../support/configured-loops.ts";
import { passTime, startTestDaemon, submit, untilItem } from "../support/daemon.ts";
import { present } from "../support/present.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";

/** Puts an item into each pipeline and answers them once each is done, failed, or held. */
async function endsOf(client: Client, pipelines: readonly string[]) {
  const ids = new Map<string, number>();
  for (const name of pipelines) {
    const { item } = await client.call(api.submitItem, { params: { name }, body: { key: name } });
    ids.set(name, item.id);
  }
  const ends = [...ids].map(async ([name, id]) => {
    const found = await until(
      async () => {
        const answer = await client.call(api.getItem, { params: { id } });
        const isOver = answer.item.state !== "active" || answer.jobs.some(({ state }) => state === "held");
        return isOver ? answer : undefined;
      },
      { what: `the item of ${name} to come to its end` },
    );
    const state = found.item.state === "active" ? "held" : found.item.state;
    return [name, { ...found, state, runs: found.runs.toSorted((a, b) => a.id - b.id) }] as const;
  });
  return Object.fromEntries(await Promise.all(ends)) as Record<string, Awaited<(typeof ends)[number]>[1]>;
}

const told = (ends: Awaited<ReturnType<typeof endsOf>>) =>
  Object.fromEntries(Object.entries(ends).map(([name, { state, runs }]) => [name, `${state} after ${runs.length}`]));

/** The run of an item, once its command runs. */
async function atWork(client: Client, id: number) {
  return await until(
    async () => {
      const { runs } = await client.call(api.getItem, { params: { id } });
      return runs.find(({ state, process }) => state === "started" && process !== null);
    },
    { what: "the run to be at work" },
  );
}

const retryAtOnce = "retry: { min: 0s, max: 0s }";

describe("what runs", () => {
  test("stage.run.command is what is started, in stage.cwd, with stage.env.* and stage.env.*.file beside what all have, and stage.next follows", async () => {
    const folder = tempDir("runs");
    await mkdir(join(folder, "sub"));
    await writeFile(join(folder, "secret"), "of the file\n");
    const yaml = `
pipelines:
  p:
    stages:
      first:
        run: { command: [sh, -c, 'pwd > out; echo "$PLAIN $SECRET" >> out'] }
        cwd: ./sub
        env: { PLAIN: written here, SECRET: { file: ./secret } }
        next: second
      second: { run: { command: [sh, -c, "echo second >> sub/out"] } }
`;
    const { client } = await startTestDaemon({ yaml, folder });
    await untilItem(client, await submit(client, "one"), "done");
    expect(readFileSync(join(folder, "sub/out"), "utf8")).toBe(`${join(folder, "sub")}\nwritten here of the file\nsecond\n`);
  });

  test("stage.run.handler is the name of the handler that is called", async () => {
    const { configuration, world } = await configuredLoops("pipelines: { p: { stages: { work: { run: { handler: mail.send } } } } }");
    await world.addItem("p");
    expect(configuration.pipelines[0]?.stages["work"]?.run).toEqual({ kind: "handler", name: "mail.send" });
    expect(await world.claim("p/work")).toMatchObject({ queue: "p/work" });
  });

  test("stage.stdin: input gives a command its input on standard input too, as one whole line", async () => {
    const script = 'cd "$WAKEFUL_WORK_DIR" && read -r line && printf "%s" "$line" > line && cat > rest';
    const yaml = `
pipelines:
  p: { stages: { work: { run: { command: [sh, -c, ${JSON.stringify(script)}] }, stdin: input, timeout: 1h } } }
`;
    const { client, dataDir } = await startTestDaemon({ yaml });
    await untilItem(client, await submit(client, "squad"), "done");
    expect(JSON.parse(readFileSync(join(dataDir, "work/squad/line"), "utf8"))).toMatchObject({ item: { key: "squad" } });
    expect(readFileSync(join(dataDir, "work/squad/rest"), "utf8")).toBe("");
  });

  test("stage.log.maxBytes is the size at which output is cut", async () => {
    const script = 'head -c 100000 /dev/zero; until [ -e "$WAKEFUL_WORK_DIR/go" ]; do sleep 0.02; done';
    const yaml = `
pipelines:
  p: { stages: { work: { run: { command: [sh, -c, ${JSON.stringify(script)}] }, log: { maxBytes: 4096 } } } }
`;
    const { client, dataDir } = await startTestDaemon({ yaml });
    const id = await submit(client, "loud");
    const path = join(dataDir, "runs", String((await atWork(client, id)).id), "stdout.log");
    await until(() => statSync(path).size > 0 && statSync(path).size <= 4096, { what: "the log to be cut" });
    await writeFile(join(dataDir, "work/loud/go"), "");
    await untilItem(client, id, "done");
  });

  test("stage.strays: leave lets processes outlive their run", async () => {
    const script = "setsid sleep 600 > /dev/null 2>&1 & echo $! > pid";
    const yaml = `
pipelines:
  kept: { stages: { work: { run: { command: [sh, -c, ${JSON.stringify(script)}] }, strays: leave, cwd: ./kept } } }
  swept: { stages: { work: { run: { command: [sh, -c, ${JSON.stringify(script)}] }, cwd: ./swept } } }
`;
    const folder = tempDir("strays");
    for (const name of ["kept", "swept"]) await mkdir(join(folder, name));
    const { client } = await startTestDaemon({ yaml, folder });
    await endsOf(client, ["kept", "swept"]);
    const pidOf = (name: string): number => Number(readFileSync(join(folder, name, "pid"), "utf8"));
    const lives = (name: string): boolean => !readFileSync(`/proc/${pidOf(name)}/stat`, "latin1").includes(") Z");
    onTestFinished(() => void process.kill(pidOf("kept"), "SIGKILL"));
    await until(() => {
      try {
        return !lives("swept");
      } catch {
        return true;
      }
    });
    expect(lives("kept")).toBe(true);
  });
});

describe("limits of one run", () => {
  const silent = 'command: [sh, -c, "echo begun; exec sleep 600"]';

  test("stage.timeout is the age at which a run is stopped", async () => {
    const yaml = `pipelines: { p: { stages: { work: { run: { ${silent} }, timeout: 1s, attempts: 1 } } } }`;
    const { client } = await startTestDaemon({ yaml });
    const { runs } = await untilItem(client, await submit(client, "long"), "failed");
    expect(runs).toMatchObject([{ outcome: "timed_out" }]);
  });

  test("stage.heartbeat.timeout is how long a run may be silent, and stage.heartbeat.from says what counts as a sign", async () => {
    const clock = new FakeClock();
    const yaml = `
pipelines:
  p: { stages: { work: { run: { ${silent} }, heartbeat: { timeout: 1m, from: output }, attempts: 1 } } }
  q: { stages: { work: { run: { ${silent} }, heartbeat: { timeout: 1m }, attempts: 1 } } }
`;
    const { client } = await startTestDaemon({ yaml, clock });
    const ids: number[] = [];
    for (const name of ["p", "q"]) {
      const { item } = await client.call(api.submitItem, { params: { name }, body: { key: "silent" } });
      await atWork(client, item.id);
      ids.push(item.id);
    }
    await until(async () => {
      const { runs } = await client.call(api.listRuns, { query: { limit: 10 } });
      return runs.some(({ progressAt }) => progressAt !== null);
    });
    const outcomes = async () => {
      const items = await Promise.all(ids.map((id) => client.call(api.getItem, { params: { id } })));
      return items.map(({ runs }) => runs[0]?.outcome ?? null);
    };
    // A run without any sign of life has twice as long.
    await passTime({ client, clock }, { loop: "job-reaper", ms: seconds(61) });
    expect(await outcomes()).toEqual(["hung", null]);
    await passTime({ client, clock }, { loop: "job-reaper", ms: seconds(60) });
    expect(await outcomes()).toEqual(["hung", "hung"]);
  });

  test("stage.maxRunning is the age at which a run is given up whatever the evidence", async () => {
    const clock = new FakeClock();
    const yaml = `pipelines: { p: { stages: { work: { run: { ${silent} }, maxRunning: 20m, attempts: 1 } } } }`;
    const { client } = await startTestDaemon({ yaml, clock });
    const id = await submit(client, "old");
    await atWork(client, id);
    clock.advance(seconds(20 * 60 - 1));
    await client.call(api.runLoop, { params: { name: "job-reaper" }, body: {} });
    expect((await client.call(api.getItem, { params: { id } })).runs).toMatchObject([{ outcome: null }]);
    clock.advance(seconds(2));
    await client.call(api.runLoop, { params: { name: "job-reaper" }, body: {} });
    expect((await client.call(api.getItem, { params: { id } })).runs).toMatchObject([{ reason: "age_ceiling" }]);
  });

  test("stage.finalizeGrace is how long after its exit a run is left to whoever settles it", async () => {
    const { world, tick, pass } = await configuredLoops(
      "pipelines: { p: { stages: { work: { run: { command: ['true'] }, timeout: 1h, finalizeGrace: 40s } } } }",
    );
    await world.addItem("p");
    const run = await world.start({ queue: "p/work" });
    world.die(run);
    // Due at once, so that the verdict alone decides how long it is left alone.
    await world.store.runs.recordExit({ ...run, exitCode: 0, checkAt: world.now });
    await tick("job-reaper");
    await pass("job-reaper", seconds(39));
    expect(await world.stateOf(run)).toBe("running");
    await pass("job-reaper", seconds(2));
    expect(await world.stateOf(run)).toBe("done");
  });
});

describe("attempts", () => {
  test("stage.attempts and stage.maxLosses bound what is tried, stage.onExhausted says what becomes of it, stage.exitCodes.* what codes mean", async () => {
    const exit = (code: number): string => `run: { command: [sh, -c, "exit ${code}"] }, ${retryAtOnce}`;
    const yaml = `
pipelines:
  two: { stages: { work: { ${exit(1)}, attempts: 2 } } }
  kept: { stages: { work: { ${exit(1)}, attempts: 1, onExhausted: hold } } }
  killed: { stages: { work: { run: { command: [sh, -c, "kill -KILL $$"] }, ${retryAtOnce}, attempts: 2, maxLosses: 4 } } }
  failOn: { stages: { work: { ${exit(7)}, exitCodes: { failOn: [7] } } } }
  holdOn: { stages: { work: { ${exit(7)}, exitCodes: { holdOn: [7] } } } }
  retryOn: { stages: { work: { run: { command: [sh, -c, "kill -KILL $$"] }, ${retryAtOnce}, attempts: 2, maxLosses: 4, exitCodes: { retryOn: [137] } } } }
`;
    const clock = new FakeClock();
    const { client } = await startTestDaemon({ yaml, clock });
    const moving = setInterval(() => clock.advance(seconds(1)), 5);
    onTestFinished(() => clearInterval(moving));
    const ends = await endsOf(client, ["two", "kept", "killed", "failOn", "holdOn", "retryOn"]);
    expect(told(ends)).toEqual({
      two: "failed after 2",
      kept: "held after 1",
      killed: "held after 4",
      failOn: "failed after 1",
      holdOn: "held after 1",
      retryOn: "failed after 2",
    });
  });

  test("stage.retry.min is the first delay, grown by stage.retry.factor, up to stage.retry.max", async () => {
    const clock = new FakeClock();
    const yaml = `
pipelines:
  p: { stages: { work: { run: { command: [sh, -c, "exit 1"] }, attempts: 4, retry: { min: 100s, max: 2000s, factor: 10 } } } }
`;
    const { client } = await startTestDaemon({ yaml, clock });
    const id = await submit(client, "failing");
    const delays: number[] = [];
    for (let failures = 1; failures < 4; failures++) {
      const job = await until(
        async () => {
          const { jobs } = await client.call(api.getItem, { params: { id } });
          return jobs.find(({ attempts, currentRunId }) => attempts === failures && currentRunId === null);
        },
        { what: `failure ${failures} to be written` },
      );
      delays.push((job.runAt - clock.wall()) / 1000);
      clock.advance(job.runAt - clock.wall());
      await client.call(api.runLoop, { params: { name: "scheduler" }, body: {} });
    }
    // Between half and all of 100 s, 1000 s, and of the 2000 s that bound 10000 s.
    for (const [at, full] of [100, 1000, 2000].entries()) {
      expect(delays[at]).toBeGreaterThanOrEqual(full / 2);
      expect(delays[at]).toBeLessThanOrEqual(full);
    }
  });
});

describe("what goes when", () => {
  test("stage.concurrency is how many runs go at once, over all stages of one stage.concurrencyKey", async () => {
    const run = 'run: { command: [sh, -c, "echo begun >> order; sleep 0.05; echo ended >> order"] }';
    const yaml = `
pipelines:
  p: { stages: { work: { ${run}, concurrency: 1, concurrencyKey: machine } } }
  q: { stages: { work: { ${run}, concurrency: 1, concurrencyKey: machine } } }
`;
    const { client, folder } = await startTestDaemon({ yaml });
    expect((await client.call(api.listSlots, {})).slots).toEqual([{ key: "machine", capacity: 1, used: 0 }]);
    const more = await submit(client, "another");
    await endsOf(client, ["p", "q"]);
    await untilItem(client, more, "done");
    expect(readFileSync(join(folder, "order"), "utf8")).toBe("begun\nended\n".repeat(3));
  });

  test("stage.priority is the order in which a worker claims, lower first, and stage.labels.* are told with the job", async () => {
    const run = 'run: { command: [sh, -c, "echo $WAKEFUL_ITEM_KEY >> order"] }';
    const yaml = `
worker: { concurrency: 1 }
pipelines:
  later: { stages: { work: { ${run} } } }
  sooner: { stages: { work: { ${run}, priority: -5, labels: { agent: ann, repo: web } } } }
`;
    const { client, folder } = await startTestDaemon({ yaml });
    await client.call(api.pause, { body: { target: { kind: "all" } } });
    const ids: number[] = [];
    for (const name of ["later", "sooner"]) {
      const { item } = await client.call(api.submitItem, { params: { name }, body: { key: name } });
      ids.push(item.id);
    }
    const { jobs } = await client.call(api.getItem, { params: { id: present(ids[1]) } });
    expect(jobs).toMatchObject([{ agent: "ann", repo: "web", priority: -5 }]);
    await client.call(api.resume, { body: { target: { kind: "all" } } });
    for (const id of ids) await untilItem(client, id, "done");
    expect(readFileSync(join(folder, "order"), "utf8")).toBe("sooner\nlater\n");
  });
});

describe("gates", () => {
  test("stage.gate.* say when a run that has exited with 0 is green", async () => {
    const make = `run: { command: [sh, -c, 'printf "%%PDF-1" > "$WAKEFUL_WORK_DIR/out"'] }, attempts: 1`;
    const yaml = `
pipelines:
  fileRed: { stages: { work: { ${make}, gate: { file: missing } } } }
  fileGreen: { stages: { work: { ${make}, gate: { file: out } } } }
  minBytesRed: { stages: { work: { ${make}, gate: { file: out, minBytes: 7 } } } }
  minBytesGreen: { stages: { work: { ${make}, gate: { file: out, minBytes: 6 } } } }
  startsWithRed: { stages: { work: { ${make}, gate: { file: out, startsWith: "PK" } } } }
  startsWithGreen: { stages: { work: { ${make}, gate: { file: out, startsWith: "%PDF-" } } } }
  signatureRed: { stages: { work: { ${make}, gate: { file: out, signature: ["504b", "ffd8ff"] } } } }
  signatureGreen: { stages: { work: { ${make}, gate: { file: out, signature: "25504446" } } } }
  # Made by the stage before, so that it is older than the run whose gate looks at it.
  anyAgeRed: { stages: { make: { ${make}, next: work }, work: { run: { command: ["true"] }, attempts: 1, gate: { file: out } } } }
  anyAgeGreen: { stages: { make: { ${make}, next: work }, work: { run: { command: ["true"] }, gate: { file: out, anyAge: true } } } }
  commandRed: { stages: { work: { ${make}, gate: { command: ["false"] } } } }
  commandGreen: { stages: { work: { ${make}, gate: { command: ["true"] } } } }
  allRed: { stages: { work: { ${make}, gate: { all: [{ file: out }, { command: ["false"] }] } } } }
  anyGreen: { stages: { work: { ${make}, gate: { any: [{ file: missing }, { command: ["true"] }] } } } }
  notRed: { stages: { work: { ${make}, gate: { not: { file: out } } } } }
  notGreen: { stages: { work: { ${make}, gate: { not: { file: missing } } } } }
`;
    const { client } = await startTestDaemon({ yaml });
    const names = [...yaml.matchAll(/^ {2}(\w+):/gm)].map(([, name]) => name ?? "");
    const ends = await endsOf(client, names);
    const states = Object.entries(ends).map(([name, { state }]) => [name, state]);
    expect(states).toEqual(names.map((name) => [name, name.endsWith("Green") ? "done" : "failed"]));
  });

  test("stage.gate.timeout bounds one reading, and stage.gate.patience how long an unreadable gate is read again", async () => {
    const yaml = `
pipelines:
  p:
    stages:
      work: { run: { command: ["true"] }, attempts: 1, gate: { command: [sleep, "600"], timeout: 1s, patience: 0s } }
`;
    const { client } = await startTestDaemon({ yaml });
    const { p } = await endsOf(client, ["p"]);
    expect(p?.state).toBe("failed");
    const { text } = await client.call(api.why, { query: { run: present(p?.runs[0]?.id) } });
    expect(text).toContain("no answer within 1000 ms");
  });
});
