import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { get } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { api } from "../../src/protocol/api/index.ts";
import { FakeClock } from "../../src/runtime/fake-clock.ts";
import { Session } from "../../src/worker/session.ts";
import { oneStage, passTime, startTestDaemon, submit, type TestDaemon, untilItem } from "../support/daemon.ts";
import { bundleHandlerHost } from "../support/handler-host.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";

/** A file of settings and one stage that runs the script. */
const withStage = (settings: string, script = "true", stage = ""): string =>
  `${settings}
pipelines:
  p:
    stages:
      work: { run: { command: [sh, -c, ${JSON.stringify(script)}] }, retry: { min: 0s, max: 0s }${stage} }
`;

const untilGo = 'while [ ! -e "$WAKEFUL_WORK_DIR/go" ]; do sleep 0.02; done';

/** The command's own process, once the store names it and no longer its wrapper's. */
async function commandOf({ client, dataDir }: TestDaemon): Promise<number> {
  return await until(
    async () => {
      const [run] = (await client.call(api.listRuns, { query: { limit: 1 } })).runs;
      const started = await readFile(join(dataDir, "runs", String(run?.id), "started"), "latin1");
      const pid = run?.process?.pid;
      return pid === undefined || pid === Number(started.split(" ")[1]) ? undefined : pid;
    },
    { what: "the command to be named" },
  );
}

const isGone = (pid: number): boolean => {
  try {
    return readFileSync(`/proc/${pid}/stat`, "latin1").includes(") Z");
  } catch {
    return true;
  }
};

/** How often a loop has ticked, by a log of all events. */
const ticksOf = (log: readonly string[], loop: string): number =>
  log.map((line) => JSON.parse(line) as Record<string, unknown>).filter((each) => each["event"] === "loop.ticked" && each["loop"] === loop)
    .length;

describe("where things are", () => {
  test("store is the path of the state, and dataDir the folder of everything else", async () => {
    const yaml = withStage("store: ./kept/state.db\ndataDir: ./elsewhere", 'echo here > "$WAKEFUL_WORK_DIR/out"');
    const folder = tempDir("places");
    await mkdir(join(folder, "kept"));
    const { client } = await startTestDaemon({ yaml, folder });
    await untilItem(client, await submit(client, "one"), "done");
    expect(existsSync(join(folder, "kept/state.db"))).toBe(true);
    expect(readFileSync(join(folder, "elsewhere/work/one/out"), "utf8")).toBe("here\n");
    expect(existsSync(join(folder, "elsewhere/wakeful.db"))).toBe(false);
  });

  test("http.listen is the address and port of the API", async () => {
    const probe = createServer().listen(0, "127.0.0.1");
    await once(probe, "listening");
    const { port } = probe.address() as AddressInfo;
    probe.close();
    await once(probe, "close");
    const { daemon } = await startTestDaemon({ yaml: oneStage("true"), flags: { "http.listen": `127.0.0.1:${port}` } });
    expect(daemon.url).toBe(`http://127.0.0.1:${port}`);
  });

  test("http.allowedHosts are the names that requests may be addressed to", async () => {
    const { daemon } = await startTestDaemon({ yaml: withStage("http: { allowedHosts: [wakeful.example] }") });
    const statusFor = async (host: string): Promise<number | undefined> =>
      await new Promise((resolve, reject) => {
        get(`${daemon.url}/v1/daemon`, { headers: { host } }, (answer) => {
          answer.resume();
          resolve(answer.statusCode);
        }).once("error", reject);
      });
    // A caller with an allowed host name but no token gets 401.
    expect([await statusFor("wakeful.example"), await statusFor("other.example")]).toEqual([401, 403]);
  });
});

describe("the log", () => {
  test("log.level is the least important level that is told, and log.json makes each line an object", async () => {
    const { client, log } = await startTestDaemon({ yaml: withStage("log: { level: debug, json: true }") });
    await client.call(api.runLoop, { params: { name: "scheduler" }, body: {} });
    const events = log.map((line) => JSON.parse(line) as { level: string; event: string });
    expect(events).toContainEqual(expect.objectContaining({ level: "debug", event: "loop.ticked" }));
    const quiet = await startTestDaemon({ yaml: withStage("log: { level: warn }") });
    expect(quiet.log).toEqual([]);
  });
});

describe("workers", () => {
  test("worker.concurrency is how many commands run at once", async () => {
    const script = "echo begun >> order; sleep 0.05; echo ended >> order";
    const { client, folder } = await startTestDaemon({ yaml: withStage("worker: { concurrency: 1 }", script) });
    const ids = [await submit(client, "one"), await submit(client, "two"), await submit(client, "three")];
    for (const id of ids) await untilItem(client, id, "done");
    expect(await readFile(join(folder, "order"), "utf8")).toBe("begun\nended\n".repeat(3));
    const { workers } = await client.call(api.listWorkers, { query: {} });
    expect(workers).toMatchObject([{ kind: "command", concurrency: 1 }]);
  });

  test("worker.renewMs is how often a session is renewed, worker.renewTimeoutMs how long one renewal may take", async () => {
    const open = Session.open.bind(Session);
    let renewals = 0;
    const spy = vi.spyOn(Session, "open").mockImplementation((options) => {
      vi.spyOn(options.backend, "renew").mockImplementation(() => {
        renewals++;
        return new Promise(() => undefined);
      });
      return open(options);
    });
    onTestFinished(() => spy.mockRestore());
    const { log } = await startTestDaemon({
      yaml: withStage("worker: { renewMs: 20, renewTimeoutMs: 30 }\nlog: { level: debug, json: true }"),
    });
    await until(() => renewals >= 20, { what: "twenty renewals" });
    // The stopper ticks once a second; twenty default renewals are a minute and a half.
    expect(ticksOf(log, "stopper")).toBeLessThan(15);
    expect(log.join("")).toContain("no answer to a renewal within 30 ms");
  });

  describe("of handlers", () => {
    let program: string;
    let remove: () => void;
    beforeAll(async () => {
      ({ program, remove } = await bundleHandlerHost());
    });
    afterAll(() => remove());

    test("worker.handlers is the module of the handlers, worker.outstandingMax how many of their runs are claimed and not settled", async () => {
      const folder = tempDir("outstanding");
      const module = `import { existsSync, writeFileSync } from "node:fs";
        export async function work({ itemKey }) {
          if (itemKey.startsWith("quick")) return;
          writeFileSync("slow", "");
          while (!existsSync("go")) await new Promise((resolve) => setTimeout(resolve, 10));
        }`;
      await writeFile(join(folder, "jobs.mjs"), module);
      const yaml = `
worker: { handlers: ./jobs.mjs, concurrency: 1, outstandingMax: 3 }
pipelines: { p: { stages: { work: { run: { handler: work } } } } }
`;
      const { client } = await startTestDaemon({ yaml, folder, handlerHost: program });
      const target = { kind: "queue", name: "p/work" } as const;
      await client.call(api.pause, { body: { target } });
      // A worker reserves as many ahead as it ended in the last tenth of a second.
      for (let made = 0; made < 30; made++) await submit(client, `quick-${made}`);
      const slow = [];
      for (let made = 0; made < 12; made++) slow.push(await submit(client, `slow-${made}`));
      await client.call(api.resume, { body: { target } });
      await until(() => existsSync(join(folder, "slow")), { what: "the first slow one to begin" });
      const { runs } = await client.call(api.listRuns, { query: { limit: 100 } });
      expect(runs.length).toBeGreaterThan(0);
      expect(runs.length).toBeLessThanOrEqual(3);
      await writeFile(join(folder, "go"), "");
      for (const id of slow) await untilItem(client, id, "done");
    });
  });
});

describe("how runs are judged", () => {
  test("dev allows a heartbeat.timeoutMs of a second, which is that of a stage that declares none", async () => {
    const clock = new FakeClock();
    const settings = "dev: true\nworker: { renewMs: 300ms }\nheartbeat: { timeoutMs: 1s }";
    const daemon = await startTestDaemon({ yaml: withStage(settings, untilGo, ", heartbeat: {}, onExhausted: hold, attempts: 1"), clock });
    const { client } = daemon;
    const id = await submit(client, "silent");
    await commandOf(daemon);
    await passTime({ client, clock }, { loop: "job-reaper", ms: 1900, stepMs: 500 });
    expect((await client.call(api.getItem, { params: { id } })).runs).toMatchObject([{ state: "started" }]);
    await passTime({ client, clock }, { loop: "job-reaper", ms: 1000, stepMs: 500 });
    expect((await client.call(api.getItem, { params: { id } })).runs).toMatchObject([{ outcome: "hung" }]);
  });

  test.each([
    ["reaper.intervalMs", "job-reaper", "reaper: { intervalMs: 50 }"],
    ["intake.pollMs", "intake", "intake: { pollMs: 50 }"],
  ])("%s is how often the %s loop ticks: here more often than one of a second", async (_key, loop, settings) => {
    const { log } = await startTestDaemon({ yaml: withStage(settings), flags: { "log.level": "debug", "log.json": true } });
    await until(() => ticksOf(log, loop) >= 20, { what: "twenty ticks" });
    expect(ticksOf(log, "stopper")).toBeLessThan(15);
  });

  test("recovery.adoption off gives the jobs of commands that outlived their daemon back", async () => {
    const folder = tempDir("not-adopted");
    const first = await startTestDaemon({ yaml: withStage("", untilGo), folder });
    await submit(first.client, "outlives");
    const pid = await commandOf(first);
    await first.stop("leave");
    const second = await startTestDaemon({ yaml: withStage("recovery: { adoption: false }", untilGo), folder });
    expect(second.daemon.adoption).toMatchObject({ adopted: 0, requeued: 1 });
    await until(() => isGone(pid), { what: "the command to be gone" });
  });
});

describe("how processes are stopped", () => {
  const stubborn = 'trap "" TERM; : > ready; while :; do sleep 0.02; done';

  /** A command that does not end at TERM is being stopped, by a clock that only the test moves. */
  async function cancelled(settings: string) {
    const clock = new FakeClock();
    const daemon = await startTestDaemon({ yaml: withStage(settings, stubborn), clock });
    const id = await submit(daemon.client, "stubborn");
    const pid = await commandOf(daemon);
    await until(() => existsSync(join(daemon.folder, "ready")), { what: "the trap" });
    onTestFinished(() => void (isGone(pid) || process.kill(pid, "SIGKILL")));
    return {
      ...daemon,
      clock,
      pid,
      cancel: async () => await daemon.client.call(api.cancelItem, { params: { id }, body: { reason: "not wanted" } }),
    };
  }

  /** How far the clock had to go; each check moves it a little. */
  async function stepsUntil(clock: FakeClock, isSo: () => boolean | Promise<boolean>): Promise<number> {
    const from = clock.mono();
    await until(
      async () => {
        if (await isSo()) return true;
        clock.advance(10);
        return false;
      },
      { everyMs: 10 },
    );
    return clock.mono() - from;
  }

  test("stop.stopGraceMs is the time between TERM and KILL", async () => {
    const { clock, pid, cancel } = await cancelled("stop: { stopGraceMs: 100 }");
    await cancel();
    expect(await stepsUntil(clock, () => isGone(pid))).toBeLessThan(4000);
  });

  test("stop.killGraceMs is the time after KILL in which a process must be gone", async () => {
    const { clock, pid, cancel, client } = await cancelled("stop: { stopGraceMs: 0, killGraceMs: 100 }");
    const kill = process.kill.bind(process);
    // As a process in an uninterruptible wait: it takes signals and does not die of them.
    const spy = vi.spyOn(process, "kill").mockImplementation((target, signal) => (Math.abs(target) === pid ? true : kill(target, signal)));
    onTestFinished(() => spy.mockRestore());
    await cancel();
    const told = async (): Promise<boolean> => {
      const { loops } = await client.call(api.listLoops, {});
      return JSON.stringify(loops.find(({ name }) => name === "stopper")?.details).includes(String(pid));
    };
    expect(await stepsUntil(clock, told)).toBeLessThan(1900);
    spy.mockRestore();
    kill(pid, "SIGKILL");
  });
});
