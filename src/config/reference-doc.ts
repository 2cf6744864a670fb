import { configReference } from "./reference.ts";

/** The text of `docs/configuration.md`, made from the schema of the settings; a test holds the file equal to it. */
export function configurationDocument(): string {
  const sections = new Map<string, string[]>();
  for (const row of configReference()) {
    const name = row.key.includes(".") ? row.key.slice(0, row.key.indexOf(".")) : "";
    const type = row.bounds === "" ? row.type : `${row.type}: ${row.bounds}`;
    const unit = row.unit === "" || row.type === "duration" || row.type === "size" ? "" : ` (${row.unit})`;
    const cells = [
      `\`${row.key}\``,
      row.default === "" ? "none" : `\`${row.default}\``,
      `${type}${unit}`,
      row.meaning,
      row.env.map(variableCell).join("<br>"),
    ];
    sections.set(name, [...(sections.get(name) ?? []), `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`]);
  }
  return `# Configuration

Every setting, made from the schema that validates it (\`src/config/schema.ts\`). Pipelines are described in [pipelines.md](pipelines.md).
Editors complete and check \`wakeful.yaml\` with [wakeful.schema.json](wakeful.schema.json); [wakeful.env.example](wakeful.env.example)
lists all variables.

- A flag overrides a variable, a variable overrides the file, the file overrides the default.
- Durations are written with their unit (\`250ms\`, \`600s\`, \`1.5h\`, \`7d\`); a key that ends in \`Ms\` also takes a bare number of
  milliseconds. Sizes likewise: \`500MB\`, \`16MiB\`, or bytes.
- Relative paths start at the folder of the file that holds them; in a variable or flag, at the working directory.
- Of several variables in one row the first that is set wins. A unit behind a variable, such as (s), is that of a bare number in it. The
  names without \`WAKEFUL_\` are those that other systems used before.
- An empty key or variable means the default. All mistakes are reported at once, each with its place, the value, the rule and the nearest
  known key, and nothing is started.

${[...sections].map(([name, rows]) => section(name, rows)).join("\n")}`;
}

function section(name: string, rows: readonly string[]): string {
  return `## ${name === "" ? "Top level" : name}

| key | default | type and bounds | meaning | variables |
| --- | --- | --- | --- | --- |
${rows.join("\n")}
`;
}

function variableCell(variable: string): string {
  const [name = "", ...unit] = variable.split(" ");
  return [`\`${name}\``, ...unit].join(" ");
}
