import { chmod, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { hasCode, messageOf, WakefulError } from "../../domain/errors.ts";
import { makeDirectory } from "../../files/make-directory.ts";
import { type CommandCall, type CommandContext, flagOption } from "../command.ts";
import { exampleFiles } from "../example-project.ts";

export async function run({ host, json }: CommandContext, { args: [directory = "."], options }: CommandCall): Promise<void> {
  const target = resolve(host.cwd, directory);
  const flag = flagOption(options, "force") ? "w" : "wx";
  const written: string[] = [];
  for (const { path, text, executable } of exampleFiles) {
    const file = join(target, path);
    await makeFolder(dirname(file));
    try {
      await writeFile(file, text, { flag });
    } catch (thrown) {
      if (!hasCode(thrown, "EEXIST")) throw thrown;
      const left = written.length === 0 ? "Nothing was written" : `${written.join(", ")} ${written.length === 1 ? "was" : "were"} written`;
      throw new WakefulError("conflict", `${file} exists. ${left}; --force overwrites.`, { details: { path: file } });
    }
    if (executable) await chmod(file, 0o755);
    written.push(path);
  }
  if (json) host.output.out(`${JSON.stringify({ directory: target, written })}\n`);
  else {
    const step = relative(host.cwd, target);
    host.output.out(
      `${written.map((path) => `wrote ${join(step, path)}`).join("\n")}\n\nNext:\n${step === "" ? "" : `  cd ${step}\n`}  wakeful up                 # in/hello.txt becomes out/hello.txt.report\n  wakeful ls                 # in another terminal\n  wakeful why words/...      # the story of an item, by its pipeline and key\n`,
    );
  }
}

async function makeFolder(path: string): Promise<void> {
  try {
    await makeDirectory(path);
  } catch (cause) {
    throw new WakefulError("bad_request", `The folder ${path} cannot be made: ${messageOf(cause)}. Name one that you may write to.`, {
      cause,
      details: { path },
    });
  }
}
