/**
 * A process that migrates an embedded store and is killed in the middle of the newest migration. `node --import tsx migrate-and-die.ts
 * <path> <statements of it that are carried out>`
 */
import { asInstant } from "../../src/domain/time.ts";
import { HintBoard } from "../../src/store/engine/hint-board.ts";
import { migrate } from "../../src/store/engine/migrator.ts";
import { sqliteMigrations } from "../../src/store/migrations/sqlite.ts";
import { SqliteConnection } from "../../src/store/sqlite/connection.ts";
import { SqliteEngine } from "../../src/store/sqlite/engine.ts";
import { targetOf } from "../../src/store/sqlite/migration-target.ts";

const [path = "", count = ""] = process.argv.slice(2);
const connection = new SqliteConnection({ path });
// Makes SQLite write changes to the log beside the file before the commit, as it does for a large store.
connection.db.exec("pragma cache_size = 1");
connection.db.function("die", () => void process.kill(process.pid, "SIGKILL"));
const engine = new SqliteEngine({ connection, hints: new HintBoard(), now: () => asInstant(Date.UTC(2026, 0, 1)) });
await migrate(
  targetOf(engine),
  sqliteMigrations.map((migration, index) => {
    if (index < sqliteMigrations.length - 1) return migration;
    const statements = migration.text.split(/;\n/).slice(0, Number(count));
    return { ...migration, text: `${statements.join(";\n")};\nselect die();` };
  }),
);
