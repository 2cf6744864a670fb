import { spawn } from "node:child_process";
import { once } from "node:events";
import { statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { HintBoard } from "../../src/store/engine/hint-board.ts";
import { migrate } from "../../src/store/engine/migrator.ts";
import { postgresMigrations } from "../../src/store/migrations/postgres.ts";
import { sqliteMigrations } from "../../src/store/migrations/sqlite.ts";
import { SqliteConnection } from "../../src/store/sqlite/connection.ts";
import { SqliteEngine } from "../../src/store/sqlite/engine.ts";
import { targetOf } from "../../src/store/sqlite/migration-target.ts";
import { type EarlierStore, earlierStore, migratePostgres } from "../support/earlier-store.ts";
import { present } from "../support/present.ts";
import { schemaLines } from "../support/schema-lines.ts";

const version = sqliteMigrations.length - 1;
const statements = present(sqliteMigrations.at(-1)).text.split(/;\n/).length - 1;

/** The killed migration must leave the store unchanged; then the next start migrates it. */
async function survives(engine: "sqlite" | "postgres", earlier: EarlierStore, kill: () => Promise<void>): Promise<void> {
  const schema = await schemaLines(engine, earlier.query);
  const rows = await earlier.rows();
  await kill();
  expect(await schemaLines(engine, earlier.query)).toEqual(schema);
  expect(await earlier.rows()).toEqual(rows);
  const store = await earlier.open();
  expect(await store.upkeep.checkInvariants()).toEqual([]);
  expect(await store.upkeep.integrityCheck()).toEqual([]);
  expect(await earlier.query("select max(number) as newest from migrations")).toEqual([{ newest: version + 1 }]);
}

test.each([
  ["half-way", Math.floor(statements / 2)],
  ["at its last statement", statements],
])("SQLite: a program that is killed %s of a migration leaves the version before, and the next one migrates", async (_when, count) => {
  const earlier = await earlierStore("sqlite", version);
  await survives("sqlite", earlier, async () => {
    const script = fileURLToPath(new URL("../support/migrate-and-die.ts", import.meta.url));
    const child = spawn(process.execPath, ["--import", "tsx", script, earlier.url, String(count)], {
      stdio: ["ignore", "inherit", "inherit"],
      env: { PATH: process.env.PATH },
    });
    expect(await once(child, "close")).toEqual([null, "SIGKILL"]);
    expect(statSync(`${earlier.url}-wal`).size, "it had begun to write").toBeGreaterThan(0);
  });
});

test("SQLite: a disk that is full in the middle of a migration leaves the version before, and the next start migrates", async () => {
  const earlier = await earlierStore("sqlite", version);
  await survives("sqlite", earlier, async () => {
    const connection = new SqliteConnection({ path: earlier.url });
    connection.db.exec("pragma max_page_count = 1");
    const engine = new SqliteEngine({ connection, hints: new HintBoard(), now: () => earlier.clock.now() });
    await expect(migrate(targetOf(engine), sqliteMigrations)).rejects.toMatchObject({ code: "disk_full" });
    await connection.close();
  });
});

test("PostgreSQL: a connection that is lost in the middle of a migration leaves the version before, and the next one migrates", async () => {
  const earlier = await earlierStore("postgres", version);
  const newest = present(postgresMigrations.at(-1));
  const lost = { ...newest, text: `${newest.text}; select pg_terminate_backend(pg_backend_pid());` };
  await survives("postgres", earlier, async () => {
    await expect(migratePostgres(earlier.url, [...postgresMigrations.slice(0, -1), lost], earlier.clock)).rejects.toMatchObject({
      code: "unavailable",
    });
  });
});
