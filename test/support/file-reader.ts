import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { onTestFinished } from "vitest";

/** Another program that reads a SQLite file in a transaction, and sees one state of it until it ends. */
export interface FileReader {
  readonly pid: number;
  /** Ends the transaction; the program keeps the file open. */
  endReading(): Promise<void>;
  kill(): Promise<void>;
}

const program = `
const { DatabaseSync } = require(${JSON.stringify(createRequire(import.meta.url).resolve("@photostructure/sqlite"))});
const db = new DatabaseSync(process.argv[1]);
db.exec("begin");
db.prepare("select count(*) from sqlite_schema").get();
console.log("reading");
process.stdin.once("data", () => {
  db.exec("rollback");
  console.log("read");
});
`;

export async function readElsewhere(path: string): Promise<FileReader> {
  const child: ChildProcess = spawn(process.execPath, ["-e", program, path], { stdio: ["pipe", "pipe", "inherit"], env: {} });
  const closed = once(child, "close");
  const kill = async (): Promise<void> => {
    child.kill("SIGKILL");
    await closed;
  };
  onTestFinished(kill);
  const { stdin, stdout, pid } = child;
  if (stdin === null || stdout === null || pid === undefined) throw new Error("the reading program could not be started");
  const lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  const line = async (): Promise<void> => {
    const { done } = await lines.next();
    if (done === true) throw new Error("the reading program ended without a word");
  };
  await line();
  return {
    pid,
    endReading: async () => {
      stdin.write("end\n");
      await line();
    },
    kill,
  };
}
