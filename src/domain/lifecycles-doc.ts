import { type Lifecycle } from "./lifecycles/lifecycle.ts";
import { runOutcomes } from "./lifecycles/run.ts";
import { lifecycles } from "./lifecycles.ts";

/** `docs/lifecycles.md`, made from the tables of lifecycles; a test holds the file equal to this. */
export function lifecyclesDocument(): string {
  return `# Lifecycles

What each noun can be, and what may happen to it. This page is made from the tables in \`src/domain/lifecycles.ts\`. The types of the code,
the guards of the store's updates and the states that the schema allows come from the same tables. Each transition is one guarded update:
it names the states that it may leave, and whoever comes second changes nothing.

*Moved on by* names who moves a thing out of a state when its holder has died, so that no state is limbo. The loops are described in
[architecture.md](architecture.md#loops).

${lifecycles.map((lifecycle) => section(lifecycle)).join("\n")}
## Outcomes of a run

An ended run has one of these outcomes: ${runOutcomes.map((outcome) => `\`${outcome}\``).join(", ")}. Beside it stand a reason (a stable
code), a message for people and the evidence; [verdicts.md](verdicts.md) lists the reasons that judging gives.
`;
}

function section(lifecycle: Lifecycle<string>): string {
  const { noun, states, transitions } = lifecycle;
  const rows = Object.entries(states).map(
    ([state, { meaning, final, rescuer }]) => `| \`${state}\` | ${meaning} | ${final === true ? "(final)" : (rescuer ?? "a person")} |`,
  );
  const moves = transitions.map(
    ({ from, to, verb, when }) => `| ${from.map((state) => `\`${state}\``).join(", ")} | \`${to}\` | ${verb} | ${when} |`,
  );
  return `## ${noun.charAt(0).toUpperCase()}${noun.slice(1)}

\`\`\`mermaid
${diagram(lifecycle)}
\`\`\`

| state | meaning | moved on by |
| --- | --- | --- |
${rows.join("\n")}

| from | to | verb | when |
| --- | --- | --- | --- |
${moves.join("\n")}
`;
}

/** One arrow for each pair of states, labelled with every verb that leads along it. */
function diagram({ initial, states, transitions }: Lifecycle<string>): string {
  const verbs = new Map<string, Set<string>>();
  for (const { from, to, verb } of transitions) {
    for (const state of from) {
      const arrow = `${state} --> ${to}`;
      verbs.set(arrow, (verbs.get(arrow) ?? new Set<string>()).add(verb));
    }
  }
  const finals = Object.entries(states).flatMap(([state, { final }]) => (final === true ? [state] : []));
  return [
    "stateDiagram-v2",
    ...initial.map((state) => `  [*] --> ${state}`),
    ...[...verbs].map(([arrow, labels]) => `  ${arrow}: ${[...labels].join(", ")}`),
    ...finals.map((state) => `  ${state} --> [*]`),
  ].join("\n");
}
