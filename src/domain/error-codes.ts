/**
 * The contract of errors: what each code means to HTTP (status) and to the command line (exit code).
 * One table, so that server, client, CLI and `docs/errors.md` cannot disagree; a test holds the document equal to it.
 */
interface ErrorCodeRow {
  readonly status: number;
  readonly exitCode: number;
  readonly retryable: boolean;
  /** What the reader should do about it, in one sentence. */
  readonly remedy: string;
}

const row = (status: number, exitCode: number, retryable: boolean, remedy: string): ErrorCodeRow => ({
  status,
  exitCode,
  retryable,
  remedy,
});

export const errorCodes = {
  internal: row(500, 1, true, "Look into the daemon's log under the correlation id; this is a defect worth reporting."),
  bad_request: row(400, 2, false, "Correct the field that the message names and send the request again."),
  config_invalid: row(400, 2, false, "Correct the lines that the message lists; `wakeful config check` starts nothing."),
  not_found: row(404, 4, false, "Check the id; a finished row may have been removed by retention."),
  conflict: row(409, 5, false, "Read the current state with `wakeful show` or `wakeful why` and decide again."),
  stage_undeclared: row(
    409,
    5,
    false,
    "Declare the stage that the message names again, restart the daemon, then unhold the job; or cancel it and rerun its item from another stage.",
  ),
  unauthorized: row(401, 6, false, "Send the admin token: the CLI reads it from the data directory."),
  forbidden: row(
    403,
    6,
    false,
    "Call as the user who started the daemon, or with the admin token; name a host that it should answer to in `http.allowedHosts`.",
  ),
  payload_too_large: row(413, 2, false, "Send less at once; the limit is in the message."),
  unsupported_media_type: row(415, 2, false, "Send `content-type: application/json`."),
  unavailable: row(503, 7, true, "Wait until the daemon or its store is ready again and repeat the request."),
  daemon_unreachable: row(503, 7, true, "Start the daemon with `wakeful up`, or name it with --url."),
  run_dir_exists: row(
    409,
    5,
    false,
    "The store is older than the run directories: raise its epoch, as a start after a restore does by itself.",
  ),
  wrapper_failed: row(500, 1, true, "Look at the message and the run's stderr log; nothing of the run was executed."),
  host_id_damaged: row(
    500,
    8,
    false,
    "Restore `host-id` in the data directory; remove it only when nothing of this host is running, for a new id gives up its runs.",
  ),
  store_locked: row(503, 7, false, "Another process owns the store: talk to it through its API, or stop it first."),
  store_lost: row(
    503,
    7,
    false,
    "Put the store's files back where they were; else stop the program, restore the newest backup and start it again.",
  ),
  data_dir_locked: row(503, 7, false, "Another program has the data directory: stop it first, or name another directory with --data-dir."),
  data_dir_lost: row(
    503,
    7,
    false,
    "Put the data directory back where it was, or stop the daemon and start it with the directory that you mean.",
  ),
  data_dir_of_another_store: row(
    409,
    5,
    false,
    "Name the store that the data directory belongs to, or a data directory of its own; take it over with --take-data-dir once nothing of the other store runs.",
  ),
  store_newer: row(500, 8, false, "Install the version that wrote the store, or restore a backup made before the upgrade."),
  store_older: row(503, 8, false, "Run `wakeful migrate`, or start the daemon, which migrates."),
  store_corrupt: row(500, 8, false, "Keep the file, and restore the newest backup."),
  store_read_only: row(500, 8, false, "Check who owns the store's file and folder, and that the file system is mounted read-write."),
  not_a_file: row(
    500,
    8,
    true,
    "Move away what lies at the path that the message names; a delivery or a look is repeated by itself, a start is for you to repeat.",
  ),
  path_unanswered: row(
    503,
    7,
    true,
    "See whether the server or program behind the file system that the message names answers; remount it if it does not. What needs it is tried again by itself.",
  ),
  disk_full: row(507, 7, true, "Free space on the store's volume and repeat; nothing of the failed write is stored."),
} as const satisfies Record<string, ErrorCodeRow>;

export type ErrorCode = keyof typeof errorCodes;
