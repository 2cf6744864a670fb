import { type Fault, nothingToEnd } from "../fault.ts";
import type { Part } from "../points.ts";
import { childrenOf, signalProcess } from "../process-tree.ts";
import { onPostgres } from "../set-up.ts";
import type { World, WorldServer } from "../world.ts";

/** What docs/postgresql.md promises of connections that fall silent. PostgreSQL's limits are no settings: short limits do not divide it. */
const silentBoundMs = 45_000;

const shortly: readonly [number, number] = [800, 2000];

/** None of these ends a run: a store that is away for so long stops nobody's work. */
const postgresFault = (
  name: string,
  rows: readonly string[],
  hits: readonly Part[],
  more: Pick<Fault, "begin"> & Partial<Pick<Fault, "lastsMs" | "recoversWithinMs" | "alone">>,
): Fault => ({ name, rows, setUps: onPostgres, needs: [], hits, lastsMs: shortly, ...more });

function serverOf(world: World): WorldServer {
  if (world.postgres === undefined) throw new Error("there is no PostgreSQL server in this set-up");
  return world.postgres;
}

export const postgresFaults: readonly Fault[] = [
  postgresFault("silent-connections", ["F-8.2", "F-9.8"], ["connections", "server"], {
    lastsMs: [300, 600],
    recoversWithinMs: silentBoundMs,
    begin: async ({ world }) => {
      for (const proxy of serverOf(world).proxies) proxy.silence();
      // They stay silent for ever; new ones are as good as before.
      return nothingToEnd;
    },
  }),
  postgresFault("cut-connections", [], ["connections", "server"], {
    begin: async ({ world }) => {
      for (const proxy of serverOf(world).proxies) proxy.cut();
      return nothingToEnd;
    },
  }),
  postgresFault("refused-connections", ["F-7.3"], ["connections", "server"], {
    begin: async ({ world }) => {
      const { proxies } = serverOf(world);
      for (const proxy of proxies) {
        proxy.refusing(true);
        proxy.cut();
      }
      return async () => {
        for (const proxy of proxies) proxy.refusing(false);
      };
    },
  }),
  postgresFault("unanswered-connections", ["F-8.2"], ["connections", "server"], {
    // A connection that was being made when the fault ended is given up after 5 s.
    recoversWithinMs: 10_000,
    begin: async ({ world }) => {
      const { proxies } = serverOf(world);
      for (const proxy of proxies) {
        proxy.answering(false);
        proxy.cut();
      }
      return async () => {
        for (const proxy of proxies) proxy.answering(true);
      };
    },
  }),
  postgresFault("kill-server", [], ["server"], {
    begin: async ({ world }) => {
      const { server } = serverOf(world);
      await server.kill();
      return async () => await server.startAgain();
    },
  }),
  postgresFault("kill-backend", [], ["server"], {
    begin: async ({ world, chance, note }) => {
      const backend = chance.pick(childrenOf(serverOf(world).server.pid).filter(({ args }) => args.includes("postgres work")));
      if (backend === undefined) throw new Error("no process of the server serves a connection");
      note(`SIGKILL to process ${backend.pid} of the server, which then ends all others and recovers`);
      signalProcess(backend.pid, "SIGKILL");
      return nothingToEnd;
    },
  }),
  postgresFault("stop-server", [], ["server"], {
    begin: async ({ world }) => {
      const { pid } = serverOf(world).server;
      const all = [pid, ...childrenOf(pid).map((child) => child.pid)];
      for (const each of all) signalProcess(each, "SIGSTOP");
      return async () => {
        for (const each of all) signalProcess(each, "SIGCONT");
      };
    },
  }),
  {
    ...postgresFault("server-clock-forward", ["F-9.9"], ["server", "connections"], {
      // For ever: clocks are not set back here, because what waits for its time would wait again.
      begin: async ({ world }) => {
        serverOf(world).setForward(120);
        return nothingToEnd;
      },
    }),
    needs: ["faketime"],
  },
  postgresFault("read-only-connections", ["F-8.3"], ["server"], {
    begin: async ({ world }) => {
      const { ask } = serverOf(world);
      // What the database says counts for new connections only, and more than what the server says.
      await ask("alter database work set default_transaction_read_only = off");
      await ask("alter system set default_transaction_read_only = on");
      await ask("select pg_reload_conf()");
      return async () => {
        await ask("alter system reset default_transaction_read_only");
        await ask("select pg_reload_conf()");
      };
    },
  }),
];
