/** The store, and how many daemons work on it: two have a data directory each. */
export type SetUp = "sqlite" | "postgres" | "postgres-two";
export const setUps: readonly SetUp[] = ["sqlite", "postgres", "postgres-two"];
export const onPostgres: readonly SetUp[] = ["postgres", "postgres-two"];
