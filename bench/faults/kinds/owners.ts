import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { api } from "../../../src/protocol/api/index.ts";
import { type EndFault, type Fault, nothingToEnd, type Scene } from "../fault.ts";
import { signalProcess, within } from "../process-tree.ts";
import { program } from "../project.ts";
import { setUps } from "../set-up.ts";
import type { WorldDaemon } from "../world-daemon.ts";
import { drawDaemon } from "./targets.ts";

const refusedWithinMs = 15_000;
const noticedWithinMs = 5000;

/** A second daemon on the first one's data directory is refused, and harms nobody. */
const secondUp: Fault = {
  name: "second-up",
  rows: ["F-9.2"],
  setUps,
  needs: ["flock"],
  hits: ["data-directory"],
  lastsMs: [100, 500],
  begin: async (scene) => {
    const { folder } = drawDaemon(scene);
    const env = { PATH: process.env["PATH"], HOME: folder };
    const second = spawn(process.execPath, [program, "up"], { cwd: folder, env, stdio: "ignore" });
    const ended = once(second, "exit").then(([code]) => code as number | null);
    const code = await Promise.race([ended, pause(refusedWithinMs, "alive" as const, { ref: false })]);
    if (code === "alive" || code === 0) {
      scene.find(`a second daemon on the same data directory was not refused: ${String(code)}`);
      signalProcess(second.pid ?? 0, "SIGKILL");
    } else scene.note(`the second daemon ended with ${String(code)}`);
    return nothingToEnd;
  },
};

/** What a cleaner does to the files of a store; a person mends it and starts the daemon again. */
function storeFiles(name: string, rows: readonly string[], harm: (daemon: WorldDaemon) => () => void): Fault {
  return {
    name,
    rows,
    setUps: ["sqlite"],
    needs: ["flock"],
    hits: ["daemon", "handler-host", "command", "data-directory", "output"],
    alone: true,
    handlers: { outcomes: ["released", "lost"] },
    lastsMs: [200, 800],
    begin: async (scene): Promise<EndFault> => {
      const daemon = drawDaemon(scene);
      const mend = harm(daemon);
      if (!(await within(noticedWithinMs, () => isUnready(daemon), 100))) scene.find("the daemon was still ready after 5 s");
      return async () => {
        daemon.signal("SIGTERM");
        if (!(await daemon.ended())) scene.find("the daemon did not end after SIGTERM");
        mend();
        daemon.start();
        await started(daemon, scene);
      };
    },
  };
}

/** Its own start counts for nothing here: the person who mended it waits for it. */
async function started(daemon: WorldDaemon, { find }: Scene): Promise<void> {
  await daemon.ready().catch((thrown: unknown) => find(String(thrown)));
}

async function isUnready({ client }: WorldDaemon): Promise<boolean> {
  const { ready } = await client.call(api.readyz, {});
  return !ready;
}

const lockDeleted = storeFiles("lock-deleted", ["F-8.8"], ({ dataDir }) => {
  rmSync(join(dataDir, "wakeful.db.lock"));
  return () => undefined;
});

const storeMoved = storeFiles("store-moved", ["F-8.9"], ({ dataDir }) => {
  const files = readdirSync(dataDir).filter((file) => /^wakeful\.db(-wal|-shm)?$/.test(file));
  for (const file of files) renameSync(join(dataDir, file), join(dataDir, `moved-${file}`));
  return () => {
    for (const file of readdirSync(dataDir).filter((each) => each.startsWith("moved-")))
      renameSync(join(dataDir, file), join(dataDir, file.slice("moved-".length)));
  };
});

export const ownerFaults: readonly Fault[] = [secondUp, lockDeleted, storeMoved];
