import { loadConfig } from "../../config/load.ts";
import { withoutPassword } from "../../config/postgres-url.ts";
import { asInstant } from "../../domain/time.ts";
import { makeDataDirectory } from "../../files/data-directory.ts";
import { everyFewSeconds, migrationText } from "../../store/migration-told.ts";
import { openStore } from "../../store/open-store.ts";
import type { CommandContext } from "../command.ts";

export async function run({ host, json, configRequest }: CommandContext): Promise<void> {
  const { config } = await loadConfig(configRequest);
  await makeDataDirectory(config.dataDir);
  const { clock, output } = host;
  const store = await openStore({
    url: config.store,
    clock: { now: () => asInstant(clock.wall()) },
    tellMigration: everyFewSeconds(
      () => clock.mono(),
      (progress) => output.err(migrationText(progress)),
    ),
  });
  await store.close();
  output.out(
    json
      ? `${JSON.stringify({ migrated: true, store: withoutPassword(config.store) })}\n`
      : `${withoutPassword(config.store)} has the schema of wakeful ${host.version}\n`,
  );
}
