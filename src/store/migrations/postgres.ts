import type { Migration } from "../migrator.ts";
import { initial } from "./0001-initial.postgres.ts";

/** The server engine's migrations, oldest first. */
export const postgresMigrations: readonly Migration[] = [{ number: 1, name: "initial", text: initial }];
