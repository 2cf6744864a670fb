import { listedSettings } from "./reference.ts";

/**
 * The text of `docs/wakeful.env.example`, made from the schema of the settings: every variable with its default. Tests hold the file equal
 * to it.
 */
export function environmentExample(): string {
  const entries = listedSettings.map(({ variable, info }) => {
    const bounds = info.bounds === "" ? info.type : `${info.type}: ${info.bounds}`;
    const others = [
      ...info.aliases.map(({ name, unit }) => (unit === undefined ? name : `${name} (a bare number is ${unitNames[unit]})`)),
      ...(info.assembled === undefined ? [] : [info.assembled.names.join(" and ")]),
    ];
    return [
      `# ${info.meaning}`,
      `# ${bounds}.${others.length === 0 ? "" : ` Also read: ${others.join(", ")}.`}`,
      `#${variable}=${valueOf(info.default, info.type)}`,
    ].join("\n");
  });
  return `# Every variable that Wakeful reads as a setting, with its default. Remove the mark in front of those that you change.
# A variable overrides wakeful.yaml, a flag overrides a variable; an empty one counts as unset. Made by \`npm run docs\`.
# Pipelines' stages have two more: MAX_ATTEMPTS_<STAGE> and <STAGE>_CONCURRENCY.

${entries.join("\n\n")}
`;
}

const unitNames = { s: "seconds", days: "days", MiB: "mebibytes" } as const;

/** The default as one would write it: of `300000 (5m)` the text with the unit, of a list its entries. */
function valueOf(shown: string, type: string): string {
  if (type === "list of texts") return shown.slice(1, -1);
  return /\(([^)]+)\)$/.exec(shown)?.[1] ?? shown;
}
