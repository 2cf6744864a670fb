import { setTimeout as pause } from "node:timers/promises";
import type { RunOutcome } from "../../../src/domain/lifecycles/run.ts";
import { api } from "../../../src/protocol/api/index.ts";
import { type EndFault, type Fault, nothingToEnd } from "../fault.ts";
import type { ExplainedEnds } from "../invariants.ts";
import type { Part } from "../points.ts";
import { signalProcess } from "../process-tree.ts";
import { setUps } from "../set-up.ts";
import { command, drawDaemon, type FindTarget, grandchild, handlerHost, wrapper } from "./targets.ts";

interface Hit {
  readonly name: string;
  readonly rows?: readonly string[];
  readonly part: Part;
  readonly find: FindTarget;
  readonly signal: NodeJS.Signals;
  /** What follows for the run that was hit, and for no other. */
  readonly commands?: readonly RunOutcome[];
  /** What follows for handlers: their host has several. */
  readonly handlers?: readonly RunOutcome[];
  readonly lastsMs?: readonly [number, number];
  readonly longerByDefaultMs?: number;
}

const briefly: readonly [number, number] = [300, 1500];
/** Shorter than any silence that is judged. */
const awhile: readonly [number, number] = [1200, 2000];

function hit({ name, rows = [], part, find, signal, commands, handlers, lastsMs, longerByDefaultMs = 0 }: Hit): Fault {
  const stops = signal === "SIGSTOP";
  return {
    name,
    rows,
    setUps,
    needs: [],
    hits: [part],
    commands: commands === undefined ? undefined : { outcomes: commands, ofHarmed: true },
    handlers: handlers === undefined ? undefined : { outcomes: handlers },
    lastsMs: lastsMs ?? (stops ? awhile : briefly),
    longerByDefaultMs,
    begin: async (scene) => {
      const target = await find(scene);
      if (target === undefined) return nothingToEnd;
      if (target.run !== undefined) scene.harm(target.run);
      scene.note(`${signal} to process ${target.pid}${target.run === undefined ? "" : ` of run ${target.run}`}`);
      signalProcess(target.pid, signal);
      return stops ? async () => void signalProcess(target.pid, "SIGCONT") : nothingToEnd;
    },
  };
}

interface DaemonEnd {
  readonly name: string;
  readonly signal: NodeJS.Signals;
  readonly commands?: ExplainedEnds;
  readonly handlers: ExplainedEnds;
}

/** A daemon that ends, and is started again when the fault is over. */
function daemonEnds({ name, signal, commands, handlers }: DaemonEnd): Fault {
  return {
    name,
    rows: [],
    setUps,
    needs: [],
    hits: ["daemon", "handler-host", "output", "data-directory"],
    commands,
    handlers,
    // Shorter than the time after which another daemon would judge it dead.
    lastsMs: [100, 1200],
    begin: async (scene) => {
      const daemon = drawDaemon(scene);
      scene.note(`${signal} to daemon ${daemon.pid}`);
      daemon.signal(signal);
      if (!(await daemon.ended())) scene.find(`the daemon did not end after ${signal}`);
      return async () => daemon.start();
    },
  };
}

/** A daemon that is killed while it ends, or again while it starts. */
function daemonEndsTwice(name: string, first: NodeJS.Signals, kill: "while it ends" | "while it starts"): Fault {
  const once = daemonEnds({ name, signal: first, handlers: { outcomes: ["released", "lost"] } });
  return {
    ...once,
    begin: async (scene) => {
      const daemon = drawDaemon(scene);
      const afterMs = scene.chance.whole(20, kill === "while it ends" ? 200 : 700);
      scene.note(`${first} to daemon ${daemon.pid}, SIGKILL ${kill}, after ${afterMs} ms`);
      daemon.signal(first);
      if (kill === "while it starts") {
        await daemon.ended();
        daemon.start();
      }
      await pause(afterMs);
      daemon.signal("SIGKILL");
      if (!(await daemon.ended())) scene.find("the daemon did not end after SIGKILL");
      return async () => daemon.start();
    },
  };
}

/** A daemon that stands still and goes on. */
function daemonStands(name: string, rows: readonly string[], lastsMs: readonly [number, number], longerByDefaultMs = 0): Fault {
  return {
    name,
    rows,
    setUps,
    needs: [],
    hits: ["daemon", "handler-host", "data-directory"],
    lastsMs,
    longerByDefaultMs,
    begin: async (scene) => {
      const daemon = drawDaemon(scene);
      scene.note(`SIGSTOP to daemon ${daemon.pid}`);
      daemon.signal("SIGSTOP");
      return async () => daemon.signal("SIGCONT");
    },
  };
}

/** Signals that mean nothing to us, to all that could take them for something. */
const foreignSignals: Fault = {
  name: "foreign-signals",
  rows: ["F-8.14"],
  setUps,
  needs: [],
  hits: ["daemon", "handler-host"],
  lastsMs: [300, 800],
  begin: async (scene): Promise<EndFault> => {
    for (const daemon of scene.world.daemons)
      for (const signal of ["SIGUSR1", "SIGUSR2"] as const) {
        daemon.signal(signal);
        const host = daemon.handlerHostPid();
        if (host !== undefined) signalProcess(host, signal);
      }
    return async () => {
      for (const daemon of scene.world.daemons) {
        const { pid } = await daemon.client.call(api.getDaemon, {});
        if (pid !== daemon.pid) scene.find(`the daemon is process ${pid}, and was ${daemon.pid}`);
      }
    };
  },
};

/** Each kind of process: killed, asked to end, and stopped for less time than makes it dead. */
export const processFaults: readonly Fault[] = [
  hit({ name: "kill-command", part: "command", find: command, signal: "SIGKILL", commands: ["lost"] }),
  hit({ name: "term-command", part: "command", find: command, signal: "SIGTERM", commands: ["lost"] }),
  hit({ name: "stop-command", part: "command", find: command, signal: "SIGSTOP" }),
  // The command goes on, and ends well.
  hit({ name: "kill-grandchild", part: "command", find: grandchild, signal: "SIGKILL" }),
  hit({ name: "kill-wrapper", part: "command", find: wrapper, signal: "SIGKILL", commands: ["lost"] }),
  hit({ name: "term-wrapper", part: "command", find: wrapper, signal: "SIGTERM" }),
  hit({ name: "stop-wrapper", part: "command", find: wrapper, signal: "SIGSTOP" }),
  hit({ name: "kill-handler-host", part: "handler-host", find: handlerHost, signal: "SIGKILL", handlers: ["lost", "released"] }),
  hit({ name: "term-handler-host", part: "handler-host", find: handlerHost, signal: "SIGTERM", handlers: ["lost", "released"] }),
  hit({ name: "stop-handler-host", part: "handler-host", find: handlerHost, signal: "SIGSTOP" }),
  daemonEnds({ name: "kill-daemon", signal: "SIGKILL", handlers: { outcomes: ["lost"] } }),
  daemonEnds({ name: "term-daemon", signal: "SIGTERM", handlers: { outcomes: ["released", "lost"] } }),
  daemonEnds({
    name: "int-daemon",
    signal: "SIGINT",
    commands: { outcomes: ["released"] },
    handlers: { outcomes: ["released", "lost"] },
  }),
  daemonEndsTwice("kill-ending-daemon", "SIGTERM", "while it ends"),
  daemonEndsTwice("kill-starting-daemon", "SIGKILL", "while it starts"),
  daemonStands("stop-daemon", [], awhile),
  foreignSignals,
];

/** Longer than silence is believed. */
const pastDead: readonly [number, number] = [4500, 6000];
const pastDeadByDefaultMs = 32_000;

/** Beside another, too, that goes on and may not take what can still be seen to run. */
export const standingDaemon: Fault = daemonStands("stop-daemon-past-dead", ["F-7.2", "F-9.10"], pastDead, pastDeadByDefaultMs);

/** A daemon that is away for so long, while its commands live on and end: they are adopted or their ends are read, by whoever may. */
const missing = daemonEnds({ name: "kill-daemon-past-dead", signal: "SIGKILL", handlers: { outcomes: ["lost"] } });
export const missingDaemon: Fault = {
  ...missing,
  rows: ["F-7.2", "F-9.10"],
  hits: [...missing.hits, "command"],
  lastsMs: pastDead,
  longerByDefaultMs: pastDeadByDefaultMs,
  begin: async (scene) => {
    for (const ms of [2000, 4000, 7000]) scene.load.item({ pipeline: "probes", ms });
    // So that some of them are at work when it is killed.
    await pause(800);
    return await missing.begin(scene);
  },
};

export const standingHandlerHost: Fault = hit({
  name: "stop-handler-host-past-dead",
  rows: ["F-9.1"],
  part: "handler-host",
  find: handlerHost,
  signal: "SIGSTOP",
  handlers: ["lost", "released"],
  lastsMs: pastDead,
  longerByDefaultMs: pastDeadByDefaultMs,
});

/** For longer than anybody waited for its record. */
export const standingWrapper: Fault = hit({
  name: "stop-wrapper-long",
  rows: ["F-9.3"],
  part: "command",
  find: wrapper,
  signal: "SIGSTOP",
  lastsMs: [12_500, 13_000],
});
