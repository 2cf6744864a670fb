import pg from "pg";
import type { PostgresTarget } from "./client-config.ts";
import { parameterText } from "./parameter-text.ts";
import { StoreClient } from "./store-client.ts";

/** A prepared statement. Its name is unique to its text. */
export interface Statement {
  readonly name: string;
  readonly text: string;
}

export interface BoundStatement {
  readonly statement: Statement;
  readonly values: readonly unknown[];
}

/** Rows as arrays: a row object per job costs more than the job's share of the statement. */
export type Rows = readonly (readonly unknown[])[];

/** The server took the whole turn back: nothing of it is stored. */
export class RolledBack extends Error {
  override readonly name = "RolledBack";
}

type Columns = readonly ((text: string) => unknown)[];

/** What the driver hands to a query of our own, beside what its types say. */
interface RowDescription {
  readonly fields: readonly { readonly dataTypeID: number }[];
}

/** A connection whose transactions are sent whole and answered whole. */
export class TurnConnection {
  readonly #client: StoreClient;
  /** Of the statements that the server has prepared for this connection. */
  readonly #prepared = new Map<string, Columns>();

  #gone = false;

  private constructor(client: StoreClient) {
    this.#client = client;
    // A connection that ends is an event; the queries in flight are rejected by the driver.
    for (const event of ["error", "end"] as const) {
      client.on(event, () => {
        this.#gone = true;
      });
    }
  }

  static async open(target: PostgresTarget): Promise<TurnConnection> {
    const connection = new TurnConnection(new StoreClient(target));
    await connection.#client.connect();
    return connection;
  }

  /** It has ended, and takes no further turn. */
  get gone(): boolean {
    return this.#gone;
  }

  /**
   * The statements in one transaction, one after the other: the rows of each. One turn at a time.
   *
   * @throws {RolledBack} with the server's error as its cause. Anything else broke the connection: the transaction may be stored.
   */
  async run(statements: readonly BoundStatement[]): Promise<readonly Rows[]> {
    for (const { statement } of statements) if (!this.#prepared.has(statement.name)) await this.#prepare(statement);
    const bound = statements.map(({ statement, values }) => ({
      ...statement,
      values: values.map(parameterText),
      columns: this.#prepared.get(statement.name) ?? [],
    }));
    return await new Promise((resolve, reject) => this.#client.query(new Turn(bound, { resolve, reject })));
  }

  async end(): Promise<void> {
    await this.#client.end();
  }

  /** Takes no further turn, whatever its server says. */
  drop(): void {
    this.#gone = true;
    this.#client.destroy();
  }

  async #prepare(statement: Statement): Promise<void> {
    const described = await new Promise<RowDescription>((resolve, reject) =>
      this.#client.query(new Preparation(statement, { resolve, reject })),
    );
    const columns = described.fields.map(({ dataTypeID }) => this.#client.getTypeParser(dataTypeID, "text") as (text: string) => unknown);
    this.#prepared.set(statement.name, columns);
  }
}

interface Outcome<Value> {
  readonly resolve: (value: Value) => void;
  readonly reject: (reason: unknown) => void;
}

/** What the driver calls on any query, and how one of ours fails. */
abstract class OwnQuery<Value> {
  protected readonly outcome: Outcome<Value>;

  constructor(outcome: Outcome<Value>) {
    this.outcome = outcome;
  }

  abstract write(connection: pg.Connection): void;

  /** Everything in one call to the system. SYNC ends the transaction, which began with the first message. */
  submit(connection: pg.Connection): void {
    connection.stream.cork();
    this.write(connection);
    connection.sync();
    connection.stream.uncork();
  }

  handleError(thrown: unknown, connection: pg.Connection): void {
    const { reject } = this.outcome;
    if (!(thrown instanceof pg.DatabaseError)) {
      reject(thrown);
      return;
    }
    // Taken back for certain only when the server is ready for another: its last word before it ends looks like any error.
    const onReady = (): void => {
      connection.removeListener("end", onEnd);
      reject(new RolledBack("rolled back", { cause: thrown }));
    };
    const onEnd = (): void => {
      connection.removeListener("readyForQuery", onReady);
      reject(thrown);
    };
    connection.once("readyForQuery", onReady);
    connection.once("end", onEnd);
  }
}

/** Parses a statement once, so that turns need neither its text nor a description of its rows. */
class Preparation extends OwnQuery<RowDescription> {
  readonly #statement: Statement;
  /** Stays so for a statement that answers no rows. */
  #described: RowDescription = { fields: [] };

  constructor(statement: Statement, outcome: Outcome<RowDescription>) {
    super(outcome);
    this.#statement = statement;
  }

  write(connection: pg.Connection): void {
    const { name, text } = this.#statement;
    connection.parse({ name, text, types: [] }, true);
    connection.describe({ type: "S", name }, true);
  }

  handleRowDescription(described: RowDescription): void {
    this.#described = described;
  }

  handleReadyForQuery(): void {
    this.outcome.resolve(this.#described);
  }
}

interface BoundTurn extends Statement {
  readonly values: readonly (string | null)[];
  readonly columns: Columns;
}

class Turn extends OwnQuery<readonly Rows[]> {
  /** Open to who records what is sent. */
  readonly statements: readonly BoundTurn[];
  readonly #rows: unknown[][][];
  #at = 0;
  #failed: { readonly thrown: unknown } | undefined;

  constructor(statements: readonly BoundTurn[], outcome: Outcome<readonly Rows[]>) {
    super(outcome);
    this.statements = statements;
    this.#rows = statements.map(() => []);
  }

  write(connection: pg.Connection): void {
    for (const { name, values } of this.statements) {
      connection.bind({ portal: "", statement: name, values: values as string[] }, true);
      connection.execute({ portal: "" }, true);
    }
  }

  handleDataRow({ fields }: { readonly fields: readonly (string | null)[] }): void {
    const columns = this.statements[this.#at]?.columns ?? [];
    try {
      this.#rows[this.#at]?.push(fields.map((text, column) => (text === null ? null : columns[column]?.(text))));
    } catch (thrown) {
      // Thrown here it would reach nobody but the socket.
      this.#failed ??= { thrown };
    }
  }

  handleCommandComplete(): void {
    this.#at += 1;
  }

  handleReadyForQuery(): void {
    if (this.#failed === undefined) this.outcome.resolve(this.#rows);
    else this.outcome.reject(this.#failed.thrown);
  }
}
