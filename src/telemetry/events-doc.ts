import { type EventName, eventCatalogue, formerEventNames } from "./events.ts";

/**
 * The text of `docs/events.md`, made from the catalogue; a test holds the file equal to it.
 * @param fieldsOf - each event's documented fields, read from the source because types leave no trace at run time.
 */
export function eventsDocument(fieldsOf: Readonly<Record<string, readonly string[]>>): string {
  const rows = Object.entries(eventCatalogue).map(([name, { level, meaning }]) => {
    const fields = fieldsOf[name];
    if (fields === undefined) throw new Error(`The fields of the event ${name} are not known.`);
    return `| \`${name}\` | ${level} | ${meaning} | ${fields.map((field) => `\`${field}\``).join(", ")} |`;
  });
  const former = Object.entries(formerEventNames).map(([earlier, now]) => `| \`${earlier}\` | \`${now}\` |`);
  return `# Events

The daemon emits typed events and nothing else; its log, its metrics and the live stream (\`GET /v1/events\`) subscribe to them. This page is
made from the catalogue in \`src/telemetry/events.ts\`.

Levels by need: \`error\` someone must act (see [operating.md](operating.md#alerts)), \`warn\` Wakeful coped, \`info\` the world changed,
\`debug\` the rest. Ids always, payloads and secrets never. Every field listed is present, also on failure; \`null\` where there is no value.
Events follow what the store has committed and are hints: a process that dies in between has changed the store and told nobody. What must be
known for certain is read from the store (\`wakeful why\`), and alerts are part of the change itself.
Times end in \`At\` (epoch milliseconds of the store's clock), durations in \`Ms\`.

| event | level | meaning | fields |
| --- | --- | --- | --- |
${rows.join("\n")}

## Earlier names

Logs of earlier versions hold these names. The actions of \`GET /v1/actions\` and the metrics did not change theirs.

| earlier | now |
| --- | --- |
${former.join("\n")}
`;
}

/** Names of the catalogue, for checks of hand-written pages. */
export const errorEvents: readonly EventName[] = (Object.keys(eventCatalogue) as EventName[]).filter(
  (name) => eventCatalogue[name].level === "error",
);
