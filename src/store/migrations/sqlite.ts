import type { Migration } from "../migrator.ts";
import { initial } from "./0001-initial.sqlite.ts";

/** The embedded engine's migrations, oldest first. */
export const sqliteMigrations: readonly Migration[] = [{ number: 1, name: "initial", text: initial }];
