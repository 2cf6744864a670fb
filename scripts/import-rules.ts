/**
 * The architecture as data: which folder may import which, who may speak to which package, and who may read the world.
 * `check-architecture.ts` holds the code to it; each rule carries the reason that its message prints.
 */

/**
 * The folders and top files of `src/` from the composition down to the rules. An import points to its own line or further down. A line may
 * stand here before its folder exists.
 */
export const layers: readonly { readonly name: string; readonly because: string }[] = [
  { name: "bin", because: "an executable only wires the process to the layers below, so nothing may depend on it" },
  { name: "testing.ts", because: "it is a public door: code inside that came in through it would go round in a circle" },
  { name: "index.ts", because: "it is a public door: code inside that came in through it would go round in a circle" },
  { name: "embedded", because: "it composes a worker for applications as main.ts composes the daemon, so nobody below may know it" },
  { name: "main.ts", because: "the composition root is the only file that knows everyone, so nobody may know it" },
  { name: "daemon", because: "its files are parts of the composition root, which alone puts them together" },
  { name: "cli", because: "a command parses, calls the client and prints; whatever else needs it belongs further down" },
  { name: "http", because: "routes hold no business rules, so no rule can need a route" },
  { name: "dashboard", because: "the page speaks to the public API alone" },
  { name: "integrations", because: "it stands above loops/, so that no loop can name git or a forge, and each can be removed alone" },
  { name: "intake", because: "a file and a webhook enter by one door, and what is behind it does not know the door" },
  { name: "operations", because: "the API and the offline command line ask the same things, so neither may hold them" },
  { name: "loops", because: "loops decide when; what they call must also work when nobody calls it on a timer" },
  { name: "worker", because: "a worker may live in another process than the daemon, and then it has no loops and no server" },
  { name: "agent", because: "it runs on a stranger's machine, so nothing of the daemon may need it" },
  { name: "settling", because: "a run ends by one rule, whoever noticed: the worker, a loop, or a person" },
  { name: "fleet", because: "machines come and go without regard to the loop or worker that asks for them" },
  { name: "item-files", because: "outbox, intake and retention all touch an item's files, so these know none of them" },
  { name: "notify", because: "deliveries leave the outbox as rows; a row needs no knowledge of who wrote it" },
  { name: "gates", because: "a gate only reads a result; how and when it is asked is the caller's matter" },
  { name: "observe", because: "observers never write, so they may not reach anything that settles" },
  { name: "processes", because: "stopping and probing processes must work for runs of any worker, also of a dead one" },
  { name: "pipelines", because: "a definition is data that must be readable without a store's writers, workers or loops" },
  { name: "store", because: "the store keeps what it is told and never calls back" },
  { name: "protocol", because: "wire schemas are shared by both ends, so they may not know either end" },
  { name: "config", because: "configuration is read before anything exists that it configures" },
  { name: "telemetry", because: "everyone emits events; a catalogue that knew its emitters would be a circle" },
  { name: "files", because: "everyone opens files, so they open them by one rule, which refuses links and FIFOs" },
  { name: "runtime", because: "clock, entropy and environment are given to everyone and need no one" },
  { name: "liveness", because: "judging death is pure: facts and an instant in, a verdict out" },
  { name: "domain", because: "the rules stand on nothing, so that they can be read and tested alone" },
];

/** Folders that import nothing but each other: no package and no built-in module save assertions. */
export const pureFolders: readonly string[] = ["domain", "liveness"];
export const pureBecause = "pure rules take facts as arguments, so that a test or a simulation can state every case";
export const pureBuiltins: readonly string[] = ["node:assert", "node:assert/strict"];

/** What `src/**` test files may import beside the code: the runner, and the support folder. */
export const testPackages: readonly string[] = ["vitest", "fast-check"];

/** Packages with one owner. */
export const ownedPackages: readonly {
  readonly packages: readonly string[];
  readonly owners: readonly string[];
  readonly because: string;
}[] = [
  {
    packages: ["kysely", "pg", "@photostructure/sqlite"],
    owners: ["store"],
    because: "SQL lives in one place, where each statement's guard and its two dialects can be read together",
  },
  {
    packages: ["fastify", "@fastify/swagger", "fastify-type-provider-zod"],
    owners: ["http"],
    because: "only the API knows that it is served by Fastify",
  },
  { packages: ["commander"], owners: ["cli"], because: "arguments are parsed at the edge; what is below gets values" },
  { packages: ["uuidv7"], owners: ["runtime"], because: "it reads the clock and entropy" },
  { packages: ["prom-client"], owners: ["telemetry"], because: "metrics subscribe to events; code that counts by itself is counted twice" },
  { packages: ["pino"], owners: ["telemetry"], because: "logs subscribe to events; a line written elsewhere has no documented keys" },
];

/** What a layer may import, where its place in the order says too little. `only` leaves `domain`, `runtime` and `telemetry` open. */
export const layerLimits: readonly {
  readonly layer: string;
  readonly never?: readonly string[];
  readonly only?: readonly string[];
  readonly because: string;
}[] = [
  { layer: "embedded", never: ["daemon", "cli", "main.ts"], because: "one composition never leans on another" },
  { layer: "intake", never: ["worker"], because: "what comes in becomes an item; who works on it is not the door's matter" },
  { layer: "operations", never: ["worker"], because: "the command line asks the same things where no worker is" },
  { layer: "loops", never: ["worker"], because: "a worker may live in another process; a loop settles what is in the store" },
  { layer: "dashboard", only: ["protocol"], because: "the page speaks to the public API alone" },
  { layer: "agent", only: ["protocol", "processes", "files"], because: "it runs on a stranger's machine and knows no store" },
];

/** Between a layer, room or file and a lower layer: all that the upper one may take from the lower. */
export const narrowDoors: readonly {
  readonly from: string;
  readonly to: string;
  readonly only: readonly string[];
  readonly because: string;
}[] = [
  { from: "intake", to: "loops", only: ["loops/skeleton"], because: "intake is a loop among others and needs none of them" },
  {
    from: "operations",
    to: "loops",
    only: ["loops/skeleton"],
    because: "what a person asks reads what loops report; it never does a loop's work",
  },
  { from: "item-files", to: "notify", only: ["notify/deliverer.ts"], because: "a state file is delivered like an alert and is none" },
  ...[
    "worker/handlers",
    "worker/commands",
    "worker/worker-backend.ts",
    "worker/backends/pipe-backend.ts",
    "worker/backends/pipe-channel.ts",
  ].flatMap((from) => [
    { from, to: "settling", only: [], because: "a worker reports how a run ended; what follows is decided behind its back end" },
    { from, to: "store", only: ["store/port"], because: "a worker may be on another machine than the store, and then has its words alone" },
  ]),
];

/**
 * The rooms of a crowded layer, from top to bottom. A room imports itself and lower rooms, or those in `only`; rooms of one line do not
 * know each other. `*.ts`: files beside the rooms without a line.
 */
export const roomOrder: readonly {
  readonly parent: string;
  readonly rooms: readonly { readonly names: readonly string[]; readonly only?: readonly string[]; readonly because: string }[];
}[] = [
  {
    parent: "loops",
    rooms: [
      { names: ["sessions"], only: ["runs", "watch", "skeleton"], because: "a dead session ends its runs, and no other noun's loop" },
      { names: ["runs"], only: ["leases", "watch", "skeleton"], because: "the lease sweep follows in the job-reaper's tick" },
      {
        names: ["leases", "items", "retention", "fleet", "outbox.ts", "scheduler.ts"],
        because: "one loop's absence must not break another, so each knows the skeleton and the watches alone",
      },
      { names: ["watch"], because: "a watch looks at one fact, for whichever loop asks" },
      { names: ["skeleton"], because: "what drives every loop knows none" },
    ],
  },
  {
    parent: "worker",
    rooms: [
      { names: ["handler-host", "http-jobs"], because: "each is one way to host work, and can be removed alone" },
      { names: ["handlers", "commands"], because: "a function and a process are run by different rules; what both need is below" },
      { names: ["foreground"], only: ["*.ts"], because: "a foreground run is one run of the caller's, and no worker that claims" },
      { names: ["backends"], because: "a back end serves whoever claims, and knows none of them" },
      { names: ["buffers"], because: "a buffer gathers calls to the store, whoever makes them" },
      { names: ["*.ts"], because: "session, adoption and start are what every kind of work stands on" },
    ],
  },
  {
    parent: "processes",
    rooms: [
      { names: ["clean-restart.ts"], because: "the program begins anew before anything else, by what its own run's folder says" },
      { names: ["wrapper", "stopping"], because: "starting and stopping are two subjects with one ground" },
      { names: ["run-folder"], because: "a run's folder is read also where nothing is started or stopped" },
      { names: ["probe"], because: "probing must work without anything that acts" },
      { names: ["*.ts"], because: "the errors of this layer are everybody's" },
    ],
  },
  {
    parent: "files",
    rooms: [
      { names: ["*.ts"], because: "what is done with a file says by itself which paths may not answer" },
      { names: ["foreign"], because: "how a path is reached is asked without knowing what is done there" },
    ],
  },
  {
    parent: "pipelines",
    rooms: [
      { names: ["reading"], because: "a definition is used without the text that it came from" },
      { names: ["*.ts"], because: "the definition is what all readers make" },
    ],
  },
  {
    parent: "store",
    rooms: [
      { names: ["*.ts"], because: "opening a store puts it together, so it alone knows every part" },
      { names: ["sqlite", "postgres"], because: "engines share the port; what both need belongs beside it" },
      { names: ["leases", "upkeep", "migrations"], because: "each reads the nouns below it and is read by none of them" },
      { names: ["items"], because: "an item moves by its jobs' ends" },
      { names: ["runs"], because: "a run is of a job" },
      { names: ["jobs", "workers", "fleet"], because: "these nouns stand alone" },
      { names: ["records"], because: "what is recorded of a noun needs no knowledge of it" },
      { names: ["engine"], because: "an engine runs statements, whosever they are" },
      { names: ["port"], because: "what can be asked needs nobody who answers" },
    ],
  },
  {
    parent: "operations",
    rooms: [
      { names: ["why"], because: "the answer to why uses what can be asked, and nothing asked needs it" },
      { names: ["*.ts"], because: "each operation is asked for by itself" },
    ],
  },
  {
    parent: "cli",
    rooms: [
      { names: ["program.ts", "commands-doc.ts"], because: "the program and its page are made of the list of commands" },
      { names: ["commands.ts"], because: "the list knows every command, and no command the list" },
      { names: ["commands"], because: "a command is called by the program alone" },
      { names: ["doctor"], because: "what a doctor looks at is looked at for its command" },
      { names: ["*.ts"], because: "connecting, tables and references serve every command" },
    ],
  },
  {
    parent: "http",
    rooms: [
      { names: ["server.ts"], because: "the server listens for the one application, which is also called without a network" },
      { names: ["app.ts"], because: "the application mounts every route, and no route knows it" },
      { names: ["routes"], because: "what several routes need stands below them" },
      { names: ["*.ts"], because: "access, views and mounting serve every route" },
    ],
  },
  {
    parent: "protocol",
    rooms: [
      { names: ["api"], because: "each call is put into the words that all calls share" },
      { names: ["*.ts"], because: "the client and the wire's words carry every call" },
    ],
  },
  {
    parent: "domain",
    rooms: [
      { names: ["*.ts"], because: "the list of all lifecycles and their page are made of the single ones" },
      { names: ["lifecycles"], because: "what a noun can be follows from nothing else" },
    ],
  },
];

/** A folder whose every direct subfolder is an alternative behind one port: they never know each other. */
export const siblingParents: readonly { readonly parent: string; readonly because: string }[] = [
  { parent: "fleet/providers", because: "a provider that leans on another cannot be removed or trusted alone" },
  { parent: "notify/channels", because: "a channel that leans on another cannot be removed alone" },
  { parent: "integrations", because: "git, a forge and a tracker can each be removed alone" },
];

/** A comparison or difference with a limit on either side, also in a built query. Not with a number, which is a check of the limit itself. */
const comparedLimit = ((limit: string) =>
  new RegExp(
    [
      String.raw`${limit}\s*(?:<(?!>)|>|-)(?!=?\s*\d)`,
      String.raw`(?:<|(?<![<=-])>|-)=?\s*[\w.?(]*${limit}`,
      String.raw`"[<>]=?",[^;{}]*?"[\w.]*${limit}`,
    ].join("|"),
  ))(String.raw`\bmax_?(?:[aA]ttempts|[lL]osses)\b`);

/**
 * What may be written in some folders or files alone, beside imports: found in the code without its comments, also over several lines.
 * Tests are free. Without an `allowedIn` nobody may write it.
 */
export const textRules: readonly {
  readonly what: string;
  readonly pattern: RegExp;
  readonly allowedIn: readonly string[];
  readonly because: string;
}[] = [
  {
    what: "telling of the end of a run or an item",
    pattern: /\bemit(?:\?\.)?\(\s*"(?:run\.ended|item\.advanced|item\.ended)"/,
    allowedIn: ["settling"],
    because: "what ends is told once, in one shape and after the commit, whoever noticed",
  },
  {
    what: "putting an alert into the outbox",
    pattern: /\boutbox\.put\(/,
    allowedIn: ["notify"],
    because:
      "an alert follows from a flip, and then the store writes it with the flip, or it is raised in the one shape that channels know",
  },
  {
    what: "writing an alert's row",
    // Not a type, nor a verdict of that kind, which has a reason; nor a condition that reads rows.
    pattern: /(?<!readonly )\bkind: "alert"(?!,\s*reason\b)|\b(?:select|values\s*\()\s*'alert'/,
    allowedIn: [
      "notify",
      // The flip that ends a run.
      "store/sqlite/run-ends.ts",
      "store/postgres/run-ends.ts",
      // The hold of a job whose stage is gone.
      "store/jobs/job-hold.ts",
    ],
    because: "an alert stands in the transaction of the flip or hold that it tells of (B-39); elsewhere it is lost or told twice",
  },
  {
    what: "settling a run",
    pattern: /\bruns\.settle(?:LostPage)?\(/,
    // The store's own door hands on what others settle.
    allowedIn: ["settling", "worker/backends", "store/text-door.ts"],
    because: "whoever settles by itself forgets to tell of it, as the lease sweep did",
  },
  {
    what: "deciding whether a session is over",
    // Both states of a pair in one condition, in either order.
    pattern:
      /[!=]==\s*"(?:stopped"[^;{}]*?[!=]==\s*"dead|dead"[^;{}]*?[!=]==\s*"stopped|live"[^;{}]*?[!=]==\s*"draining|draining"[^;{}]*?[!=]==\s*"live)"/,
    allowedIn: ["liveness/death-proof.ts"],
    because: "what proves the end of a session is one rule; a second one misses the state that is added",
  },
  {
    what: "a list by hand of the states in which a session is over",
    pattern: /\[\s*"(?:stopped",\s*"dead|dead",\s*"stopped)",?\s*\]|\bin \('(?:stopped|dead)'/,
    allowedIn: [],
    because: "the lifecycle says which states are final, and a second list misses the one that is added",
  },
  {
    what: "comparing what is spent with its limit",
    pattern: comparedLimit,
    allowedIn: [
      "liveness/retry-contract.ts",
      // What is left, for people.
      "operations/why/standing.ts",
    ],
    because: "whether an attempt or loss was the last is decided by the retry contract alone; places that agree by care disagree in time",
  },
  {
    what: "comparing the code of a system error by hand",
    pattern: /\.code\s*[!=]==?\s*["']E[A-Z]|["']E[A-Z_]+["']\s*[!=]==?\s*[\w.?]*\.code\b/,
    allowedIn: [],
    because: "`hasCode` of domain/errors.ts asks it of whatever was thrown, also of what is no error",
  },
];

/** Layers that know the store's port and never one of its engines. */
export const portOnly = {
  layers: [
    "http",
    "dashboard",
    "intake",
    "operations",
    "loops",
    "settling",
    "fleet",
    "item-files",
    "notify",
    "gates",
    "processes",
    "observe",
    "pipelines",
  ],
  engines: ["store/sqlite", "store/postgres"],
  because: "a loop or route that knows the engine is a second place where the engines can differ",
};

/** Reading the world: allowed in these layers only. The names are those that `check-architecture.ts` recognises in the syntax tree. */
export const ambientReads: readonly {
  readonly names: readonly string[];
  readonly allowedIn: readonly string[];
  readonly because: string;
}[] = [
  {
    names: [
      "Date.now",
      "new Date()",
      "Date()",
      "performance.now",
      "performance.timeOrigin",
      "process.hrtime",
      "process.uptime",
      "os.uptime",
    ],
    allowedIn: ["runtime", "dashboard"],
    because:
      "ages are computed from an injected clock, else a test cannot step it and a suspended host miscounts; the page has only its browser's",
  },
  {
    names: ["Math.random", "crypto.randomUUID", "crypto.randomBytes", "crypto.randomInt", "crypto.getRandomValues"],
    allowedIn: ["runtime"],
    because: "entropy is injected, else a failing simulation cannot be replayed from its seed",
  },
  {
    names: ["process.env"],
    allowedIn: ["runtime"],
    because: "configuration is one frozen object made at start; a variable read elsewhere is documented and checked nowhere",
  },
  {
    names: ["process.exit"],
    allowedIn: ["cli", "bin"],
    because: "whoever ends the process skips everybody's cleanup, so only the edge that started it may",
  },
];

/** Single exceptions to {@link ambientReads}. An entry that matches nothing fails the check, so that the list never outlives its reasons. */
export const ambientExceptions: readonly { readonly file: string; readonly name: string; readonly because: string }[] = [];

/**
 * What loading a public entry point must not drag in, following every import that is neither a type nor dynamic.
 * Entries are file paths or package names.
 */
export const entryLoads: readonly { readonly entry: string; readonly never: readonly string[]; readonly because: string }[] = [
  {
    entry: "src/index.ts",
    never: [
      "pg",
      "@photostructure/sqlite",
      "kysely",
      "fastify",
      "commander",
      "src/main.ts",
      "src/embedded",
      "src/cli",
      "src/http",
      "src/loops",
    ],
    because: "an application that only enqueues or works should pay for neither a database driver nor the daemon",
  },
];
