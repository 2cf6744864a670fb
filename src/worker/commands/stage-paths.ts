import { resolve } from "node:path";
import { readSecrets } from "../../files/secrets.ts";
import type { StageDefinition } from "../../pipelines/definition.ts";
import { checkWorkDirectory } from "../../processes/wrapper/wrapper.ts";
import type { CommandLaunch } from "./command-run-deps.ts";
import { during } from "./start-failure.ts";

/** What a command needs of paths that people configured, gathered before anything else is done for it. */
export interface StagePlaces {
  readonly secrets: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Whether a change to `cwd` may never return, so that only the command's own process may try it. */
  readonly cwdIsForeign: boolean;
}

/** The configured paths that a start of the stage's command touches, absolute. */
export const pathsOfStage = ({ envFiles, cwd = "." }: StageDefinition, baseDir: string): readonly string[] => [
  ...Object.values(envFiles).map((file) => resolve(baseDir, file)),
  resolve(baseDir, cwd),
];

/** @throws Typed errors of a start: a secret that cannot be read, a foreign work directory that cannot be used, `path_unanswered`. */
export async function lookAtPlaces(
  stage: StageDefinition,
  { baseDir, access }: Pick<CommandLaunch, "baseDir" | "access">,
): Promise<StagePlaces> {
  const cwd = resolve(baseDir, stage.cwd ?? ".");
  const cwdIsForeign = access.isForeign(cwd);
  // One of this machine is looked at by the wrapper, and only where its start fails.
  if (cwdIsForeign) await during("cwd", async () => await checkWorkDirectory(cwd, access));
  const secrets = await during("secret", async () => await readSecrets(stage.envFiles, { baseDir, access }));
  return { secrets, cwd, cwdIsForeign };
}
