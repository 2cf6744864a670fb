/**
 * A process that migrates an embedded store, a few rows a slice, and is killed before a statement of it. `node --import tsx migrate-and-die.ts
 * <path> <statements that are carried out>`
 */
import { asInstant } from "../../src/domain/time.ts";
import { HintBoard } from "../../src/store/engine/hint-board.ts";
import { migrate } from "../../src/store/engine/migrator.ts";
import { sqliteMigrations } from "../../src/store/migrations/sqlite.ts";
import { SqliteConnection } from "../../src/store/sqlite/connection.ts";
import { SqliteEngine } from "../../src/store/sqlite/engine.ts";
import { targetOf } from "../../src/store/sqlite/migration-target.ts";
import { beforeEachStatement, inManyStatements } from "./statements-of-migration.ts";

const [path = "", count = ""] = process.argv.slice(2);
const connection = new SqliteConnection({ path });
// Makes SQLite write changes to the log beside the file before the commit, as it does for a large store.
connection.db.exec("pragma cache_size = 1");
let left = Number(count);
beforeEachStatement(connection, () => {
  if (left === 0) process.kill(process.pid, "SIGKILL");
  left -= 1;
});
const engine = new SqliteEngine({ connection, hints: new HintBoard(), now: () => asInstant(Date.UTC(2026, 0, 1)) });
await migrate(inManyStatements(targetOf(engine)), sqliteMigrations);
