import { nearestWord } from "../../config/edit-distance.ts";
import { findingsOfZod } from "../../config/zod-findings.ts";
import { WakefulError } from "../../domain/errors.ts";
import { asInstant, type Instant } from "../../domain/time.ts";
import { absoluteText, relativeText } from "../../operations/why/spans.ts";
import type { Endpoint } from "../../protocol/endpoint.ts";
import { type CommandCall, type CommandContext, flagOption, type Options, textOption } from "../command.ts";
import { listings } from "../listings.ts";

export async function run({ connect, host, json }: CommandContext, { args: [what = "items"], options }: CommandCall): Promise<void> {
  const listing = Object.hasOwn(listings, what) ? listings[what] : undefined;
  if (listing === undefined) {
    const nearest = nearestWord(what, Object.keys(listings));
    throw new WakefulError(
      "bad_request",
      `There is no list of "${what}"${nearest === undefined ? "." : `; did you mean "${nearest}"?`} There are ${Object.keys(listings).join(", ")}.`,
    );
  }
  const query = queryOf(what, { options, endpoint: listing.endpoint });
  const { client } = await connect({ offline: true });
  const now = asInstant(host.clock.wall());
  const tell = flagOption(options, "absolute") ? absoluteText : (at: Instant) => relativeText(at, now);
  const when = (at: number | null): string | null => (at === null ? null : tell(asInstant(at)));
  const { answer, text } = await listing.list({ client, query, when, colour: host.output.colour });
  host.output.out(json ? `${JSON.stringify(answer)}\n` : text);
}

const queryOptions = ["state", "pipeline", "queue", "limit"];

/** The options that choose rows, in words of the command line where the API would refuse them. */
function queryOf(
  what: string,
  { options, endpoint: { query: schema } }: { readonly options: Options; readonly endpoint: Endpoint },
): Readonly<Record<string, string>> {
  const query: Record<string, string> = {};
  const taken = queryOptions.filter((name) => Object.hasOwn(schema?.shape ?? {}, name));
  for (const name of queryOptions) {
    const value = textOption(options, name);
    if (value === undefined) continue;
    if (!taken.includes(name)) {
      const instead = taken.length === 0 ? "" : `; it takes ${taken.map((each) => `--${each}`).join(", ")}`;
      throw new WakefulError("bad_request", `\`wakeful ls ${what}\` has no --${name}${instead}.`);
    }
    query[name] = value;
  }
  const parsed = schema?.safeParse(query);
  const [finding] = schema === undefined || parsed?.error === undefined ? [] : findingsOfZod(parsed.error, schema, query);
  if (finding === undefined) return query;
  const name = String(finding.path[0]);
  throw new WakefulError("bad_request", `--${name} ${query[name]} ${finding.rule}.`);
}
