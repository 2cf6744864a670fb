import { startDaemon } from "../../src/main.ts";
import { loadConfiguration } from "../../src/pipelines/reading/load.ts";

/** Starts a daemon on the folder named by the first argument, prints the outcome and ends. Run as another user by tests of permissions. */
const folder = process.argv[2] ?? "";
try {
  const configuration = await loadConfiguration({ cwd: folder, env: {}, flags: { "http.listen": "127.0.0.1:0" } });
  const daemon = await startDaemon({
    configuration,
    environment: process.env,
    output: { log: () => undefined, handlers: () => undefined, onDropped: () => undefined },
  });
  console.log("started");
  await daemon.stop("leave");
} catch (thrown) {
  console.log(thrown instanceof Error && "code" in thrown ? String(thrown.code) : "unknown", String(thrown));
}
