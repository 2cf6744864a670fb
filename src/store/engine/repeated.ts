import type { CompiledQuery } from "kysely";
import type { Engine } from "./engine.ts";

/** Stands in a statement for a value that each call gives. */
class Blank {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

/**
 * A select that a loop asks every second, compiled at its first use and never again: building and compiling it costs several times what
 * SQLite takes to answer that there is nothing.
 *
 * @param build - makes the statement, once. It may put what it is given into the statement as a value, and do nothing else with it.
 */
export function repeated<Values extends object, Row>(
  engine: Pick<Engine, "rows">,
  build: (blanks: Values) => CompiledQuery<Row>,
): (values: Values) => Promise<readonly Row[]> {
  let made: CompiledQuery<Row> | undefined;
  return async (values) => {
    made ??= build(blanks as Values);
    const parameters = made.parameters.map((value) => (value instanceof Blank ? values[value.name as keyof Values] : value));
    return await engine.rows<Row>(made.sql, parameters);
  };
}

const blanks: object = new Proxy({}, { get: (_target, name) => new Blank(String(name)) });
