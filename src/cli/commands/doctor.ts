import type { Config } from "../../config/config.ts";
import { describeMistake } from "../../config/mistake.ts";
import { errorCodes } from "../../domain/error-codes.ts";
import { isWakefulError } from "../../domain/errors.ts";
import { readConfiguration } from "../../pipelines/reading/load.ts";
import { api } from "../../protocol/api/index.ts";
import { withoutControls } from "../../protocol/terminal-text.ts";
import { type CommandCall, type CommandContext, flagOption } from "../command.ts";
import type { Connection } from "../connection.ts";
import { checkAlerts } from "../doctor/alert-check.ts";
import { checkInit, checkLoops, checkStored } from "../doctor/daemon-checks.ts";
import { type DoctorFinding, ok, problem, warning } from "../doctor/finding.ts";
import { checkContainer, checkDataDirectory, checkDisk, checkNode, checkPrograms, looksLikeContainer } from "../doctor/host-checks.ts";
import { checkProcessLimits } from "../doctor/process-limits.ts";
import { missingPrograms } from "../missing-programs.ts";

/** The exit code for problems found, unlike those for a doctor that could not run. */
const problemsExitCode = 3;

export async function run(context: CommandContext, { options }: CommandCall): Promise<number> {
  if (flagOption(options, "resetClock")) {
    await (await import("../doctor/reset-clock.ts")).resetStoreClock(context);
    return 0;
  }
  const { host, json } = context;
  const findings: DoctorFinding[] = [checkNode(process.version), checkPrograms(host.env["PATH"] ?? "", process.platform)];
  const { configuration, mistakes, warnings } = await readConfiguration(context.configRequest);
  findings.push(
    ...mistakes.map((mistake) => problem("configuration", describeMistake(mistake), "Correct it; `wakeful config check` checks again.")),
  );
  findings.push(
    ...warnings.map((mistake) => warning("configuration", describeMistake(mistake), "See docs/configuration.md and docs/pipelines.md.")),
  );
  if (configuration !== undefined) {
    const { config } = configuration;
    for (const { path, value, rule } of await missingPrograms(configuration, host.env))
      findings.push(warning("programs", `${path}: ${value} ${rule}`, "Install it, or name it by its path."));
    if (mistakes.length + warnings.length === 0) findings.push(ok("configuration", config.file ?? "no file, defaults only"));
    findings.push(
      checkDataDirectory({ dataDir: config.dataDir, uid: process.getuid?.() }),
      ...(await checkDisk(config)),
      checkContainer(config, looksLikeContainer(host.env)),
      ...checkAlerts({ dataDir: config.dataDir, wall: host.clock.wall() }),
    );
    findings.push(...(await checkDaemonAndStore(context, config)));
  }
  const problems = findings.filter(({ level }) => level === "problem").length;
  if (json) host.output.out(`${JSON.stringify({ healthy: problems === 0, findings })}\n`);
  else host.output.out(findings.map((finding) => findingText(finding, host.output.colour)).join(""));
  return problems === 0 ? 0 : problemsExitCode;
}

/** Asks the daemon if one answers, else reads the store's file. A failure to reach either is a finding. */
async function checkDaemonAndStore(
  { connect, host }: CommandContext,
  config: Pick<Config, "store" | "readers">,
): Promise<readonly DoctorFinding[]> {
  let connection: Connection;
  try {
    connection = await connect({ offline: true });
  } catch (thrown) {
    if (!isWakefulError(thrown)) throw thrown;
    if (thrown.details["storeMissing"] === true)
      return [warning("store", `there is none at ${config.store} yet`, "`wakeful up` makes it.")];
    return [problem(thrown.code === "store_locked" ? "daemon" : "store", thrown.message, errorCodes[thrown.code].remedy)];
  }
  const { client, offline } = connection;
  try {
    const wall = host.clock.wall();
    const findings: DoctorFinding[] = [];
    if (offline) findings.push(warning("daemon", "none is running", "`wakeful up` starts one."));
    else {
      const daemon = await client.call(api.getDaemon, {});
      const { ready, reasons, heldBack, troubles } = await client.call(api.readyz, {});
      findings.push(ok("daemon", `version ${daemon.version}, pid ${daemon.pid}, holds ${daemon.store}`));
      if (daemon.version !== host.version)
        findings.push(
          warning("daemon", `it has version ${daemon.version}, this command line ${host.version}`, "Restart the daemon after an upgrade."),
        );
      findings.push(...checkInit(daemon.pid), ...checkProcessLimits(daemon.pid));
      if (!ready) findings.push(problem("daemon", `takes no new work: ${reasons.join("; ")}`, "Remove what is named."));
      for (const { queue, why } of heldBack)
        findings.push(problem(`queue ${queue}`, `this host starts nothing of it: ${why}`, "It goes on by itself once that is mended."));
      findings.push(
        ...troubles.map((trouble) =>
          problem(
            "share",
            trouble,
            "See whether the server or program behind it answers; if it does not come back, `umount -l` it and mount it again.",
          ),
        ),
      );
      findings.push(...checkLoops((await client.call(api.listLoops, {})).loops, daemon.now));
    }
    findings.push(...checkStored(await client.call(api.checkStore, {}), wall, config.readers));
    return findings;
  } catch (thrown) {
    if (!isWakefulError(thrown)) throw thrown;
    return [problem("daemon", thrown.message, errorCodes[thrown.code].remedy)];
  }
}

const marks = { ok: ["ok", "32"], warning: ["warning", "33"], problem: ["PROBLEM", "31"] } as const;

function findingText({ check, level, text, remedy }: DoctorFinding, colour: boolean): string {
  const [mark, code] = marks[level];
  const padded = mark.padEnd(8);
  const shown = colour ? `\u001b[${code}m${padded}\u001b[0m` : padded;
  return `${shown} ${withoutControls(`${check}: ${text}`)}\n${remedy === undefined ? "" : `         ${withoutControls(remedy)}\n`}`;
}
