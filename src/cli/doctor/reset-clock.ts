import { existsSync } from "node:fs";
import { loadConfig } from "../../config/load.ts";
import { withoutPassword } from "../../config/postgres-url.ts";
import { isWakefulError, WakefulError } from "../../domain/errors.ts";
import { asInstant } from "../../domain/time.ts";
import { openStore } from "../../store/open-store.ts";
import type { CommandContext } from "../command.ts";

/**
 * Sets instants of the store that lie ahead back to now. Unlike a daemon, it lets the store's clock go behind the newest instant: that is
 * the cure.
 * @throws {WakefulError} `store_locked` while a daemon has the store, `not_found` when there is none.
 */
export async function resetStoreClock({ host, json, configRequest, connect }: CommandContext): Promise<void> {
  const { config } = await loadConfig(configRequest);
  await refuseBesideDaemon(connect);
  if (!config.store.includes("://") && !existsSync(config.store))
    throw new WakefulError("not_found", `There is no store at ${config.store}: nothing has been started here yet.`);
  const { clock } = host;
  const store = await openStore({ url: config.store, clock: { now: () => asInstant(clock.wall()), mono: () => clock.mono() } });
  try {
    const to = store.now();
    const tables = await store.upkeep.resetClock({ to, actor: `cli:${host.user}` });
    const rows = Object.values(tables).reduce((sum, changed) => sum + changed, 0);
    const each = Object.entries(tables).map(([table, changed]) => `${table} ${changed}`);
    const told =
      rows === 0
        ? `nothing in ${withoutPassword(config.store)} lies ahead of ${new Date(to).toISOString()}`
        : `${rows} rows of ${withoutPassword(config.store)} were ahead of ${new Date(to).toISOString()} and are set back to it (${each.join(", ")})`;
    host.output.out(json ? `${JSON.stringify({ to, rows, tables })}\n` : `${told}\n`);
  } finally {
    await store.close();
  }
}

/** A running daemon has the wrong time in its memory, and would write it again. */
async function refuseBesideDaemon(connect: CommandContext["connect"]): Promise<void> {
  try {
    await connect();
  } catch (thrown) {
    if (isWakefulError(thrown) && thrown.code === "daemon_unreachable") return;
    throw thrown;
  }
  throw new WakefulError("store_locked", "A daemon has the store: stop it first, then reset the clock and start it again.");
}
