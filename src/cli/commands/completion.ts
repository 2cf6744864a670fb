import { WakefulError } from "../../domain/errors.ts";
import type { CommandCall, CommandContext, CommandSpec } from "../command.ts";

const common = ["--json", "--config", "--data-dir", "--url", "--no-color", "--help"];

/** Words that may follow `wakeful`, and those that may follow each command. */
function vocabulary(commands: readonly CommandSpec[]): ReadonlyMap<string, readonly string[]> {
  const words = new Map<string, string[]>();
  for (const { name, options = [] } of commands) {
    const [first = name, second] = name.split(" ");
    const flags = options.flatMap(({ flags: text }) => text.split(/[ ,]+/).filter((word) => word.startsWith("-")));
    words.set(first, [...new Set([...(words.get(first) ?? common), ...(second === undefined ? [] : [second]), ...flags])]);
  }
  words.set("ls", [...(words.get("ls") ?? []), "items", "jobs", "runs", "workers", "leases", "loops", "slots", "pipelines", "duplicates"]);
  words.set("completion", [...(words.get("completion") ?? []), "bash", "zsh", "fish"]);
  return words;
}

export async function run({ host, json, commands }: CommandContext, { args: [shell = ""] }: CommandCall): Promise<void> {
  const scripts: Readonly<Record<string, () => string>> = {
    bash: () => bash(commands),
    zsh: () => `#compdef wakeful\nautoload -U +X bashcompinit && bashcompinit\n${bash(commands)}`,
    fish: () => fish(commands),
  };
  const script = Object.hasOwn(scripts, shell) ? scripts[shell] : undefined;
  if (script === undefined) throw new WakefulError("bad_request", `There is no completion for "${shell}": write bash, zsh or fish.`);
  host.output.out(json ? `${JSON.stringify({ shell, script: script() })}\n` : script());
}

function bash(commands: readonly CommandSpec[]): string {
  const words = vocabulary(commands);
  const cases = [...words].map(([name, following]) => `    ${name}) words="${following.join(" ")}" ;;`);
  return `# eval "$(wakeful completion bash)"
_wakeful() {
  local words
  case "\${COMP_WORDS[1]}" in
${cases.join("\n")}
    *) words="" ;;
  esac
  [ "$COMP_CWORD" -eq 1 ] && words="${[...words.keys()].join(" ")} --help --version"
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _wakeful wakeful
`;
}

function fish(commands: readonly CommandSpec[]): string {
  const lines = commands
    .filter(({ name }) => !name.includes(" "))
    .map(({ name, summary }) => `complete -c wakeful -n __fish_use_subcommand -f -a ${name} -d '${summary.replaceAll("'", "\\'")}'`);
  const following = [...vocabulary(commands)].map(
    ([name, words]) => `complete -c wakeful -n '__fish_seen_subcommand_from ${name}' -a '${words.join(" ")}'`,
  );
  return `# wakeful completion fish | source\n${[...lines, ...following].join("\n")}\n`;
}
