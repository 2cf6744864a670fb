import { WakefulError } from "../../domain/errors.ts";

/** Another process owns the embedded store. `details.pid` names it where it left its name. */
export class StoreLockedError extends WakefulError {
  constructor(options: { readonly path: string; readonly holder: { readonly pid: number; readonly startedAt: string } | undefined }) {
    const { path, holder } = options;
    const who = holder === undefined ? "another process" : `process ${holder.pid}, started ${holder.startedAt}`;
    super("store_locked", `${path} is in use by ${who}. One process owns the file: talk to it through its API, or stop it first.`, {
      details: { path, ...holder },
    });
  }
}

/** The database was written by a newer program: nothing was changed. */
export class StoreNewerError extends WakefulError {
  constructor(options: { readonly store: string; readonly found: number; readonly known: number }) {
    const { store, found, known } = options;
    super(
      "store_newer",
      `${store} has schema ${found}, and this program knows up to ${known}. Install the newer version, or restore a backup made before the upgrade.`,
      {
        details: { store, found, known },
      },
    );
  }
}

/** The database was last used by an older program, or its migration has not ended; and this opening may not migrate it. */
export class StoreOlderError extends WakefulError {
  constructor(options: { readonly store: string; readonly found: number; readonly known: number; readonly underWay: boolean }) {
    const { store, found, known, underWay } = options;
    const what = underWay ? `is on its way to schema ${found}, or was left there` : `has schema ${found}`;
    super(
      "store_older",
      `${store} ${what}, and this program needs ${known}. Run \`wakeful migrate\`, or start the daemon, which migrates.`,
      {
        details: { store, found, known, underWay },
      },
    );
  }
}

/** The file is not a database, or its pages contradict each other. */
export class StoreCorruptError extends WakefulError {
  constructor(options: { readonly store: string; readonly found: string; readonly cause?: unknown }) {
    const { store, found, cause } = options;
    super(
      "store_corrupt",
      `${store} cannot be read as a store: ${found}. Keep the file, stop the daemon and restore the newest backup; \`sqlite3 FILE .recover\` may save rows.`,
      { cause, details: { store } },
    );
  }
}

/** An older store in which rows name rows that are not there: its tables cannot be made anew. Nothing was changed. */
export class StoreReferencesError extends WakefulError {
  constructor(options: { readonly store: string; readonly broken: readonly string[] }) {
    const { store, broken } = options;
    const more = broken.length > 1 ? `, and ${broken.length - 1} more` : "";
    super(
      "store_corrupt",
      `${store} was not migrated, because it contradicts itself: ${broken[0] ?? "a row is missing"}${more}. Nothing was changed, so the version before still opens it. Restore a backup from before the damage, or mend those rows.`,
      { details: { store, broken: broken.slice(0, 20), count: broken.length } },
    );
  }
}

/** The store or its folder may not be written by this user, or the server only answers reads. */
export class StoreReadOnlyError extends WakefulError {
  constructor(options: { readonly store: string; readonly found: string; readonly cause?: unknown }) {
    const { store, found, cause } = options;
    super(
      "store_read_only",
      `${store} cannot be written: ${found}. Check that its folder exists, who owns it, and that the file system is mounted read-write.`,
      {
        cause,
        details: { store },
      },
    );
  }
}

/** The newest of the store is in its write-ahead log, which SQLite reads only where it may write beside it. */
export class StoreLogUnreadableError extends WakefulError {
  constructor(options: { readonly store: string; readonly cause: unknown }) {
    const { store, cause } = options;
    super(
      "store_read_only",
      `${store} was left in the middle of its work: the newest of it is in ${store}-wal, which can be read only where its folder may be written. Call as the user who owns it, start \`wakeful up\` there once, or copy both files to a folder of your own and read them with --data-dir.`,
      { cause, details: { store } },
    );
  }
}

/** No space is left for the store. The transaction was rolled back; nothing of it is stored. */
export class DiskFullError extends WakefulError {
  constructor(options: { readonly store: string; readonly cause?: unknown }) {
    super(
      "disk_full",
      `No space is left for ${options.store}; the write was rolled back. Free space on its volume: the store goes on by itself.`,
      {
        cause: options.cause,
        details: { store: options.store },
      },
    );
  }
}

/** The store is closed, or does not answer now. The same call may succeed later. */
export class StoreUnavailableError extends WakefulError {
  constructor(
    message: string,
    options: { readonly cause?: unknown; readonly details?: Readonly<Record<string, unknown>> | undefined } = {},
  ) {
    super("unavailable", message, options);
  }
}

/** The store's files were deleted, moved or replaced under the process that owns them: whatever it wrote now would be lost. */
export class StoreLostError extends WakefulError {
  constructor(options: { readonly store: string; readonly found: string }) {
    super(
      "store_lost",
      `${options.found} while this program had it open. Nothing is read or written, because it would be lost. Put the file back, or stop the program, restore the newest backup and start it again.`,
      { details: { store: options.store } },
    );
  }
}

/** A queue that nobody has made known with `ensureQueues`. */
export class UnknownQueueError extends WakefulError {
  constructor(queue: string) {
    super(
      "not_found",
      `The queue ${JSON.stringify(queue)} is not known to the store: declare its stage or task, and start the daemon with that configuration.`,
      {
        details: { queue },
      },
    );
  }
}

/** The store refuses a value for what it is, and refuses it each time. Nothing of the write is stored. */
export class StoreContentError extends WakefulError {
  constructor(options: { readonly store: string; readonly found: string; readonly cause?: unknown }) {
    const { store, found, cause } = options;
    super(
      "bad_request",
      `${store} cannot store what it was given: ${found}. Leave out what it names, or use a database whose encoding is UTF8.`,
      { cause, details: { store } },
    );
  }
}

/** A text that cannot be a name, a key or an id. */
export class BadNameError extends WakefulError {
  constructor(field: string, rule: string) {
    super("bad_request", `${field} ${rule}. Give it another text.`, { details: { field } });
  }
}

export function storeClosed(): StoreUnavailableError {
  return new StoreUnavailableError("The store is closed.");
}
