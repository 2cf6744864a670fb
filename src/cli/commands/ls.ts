import { nearestWord } from "../../config/edit-distance.ts";
import { WakefulError } from "../../domain/errors.ts";
import { asInstant, type Instant } from "../../domain/time.ts";
import { absoluteText, relativeText } from "../../http/why/spans.ts";
import { type CommandCall, type CommandContext, flagOption, textOption } from "../command.ts";
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
  const { client } = await connect({ offline: true });
  const query = Object.fromEntries(
    ["state", "pipeline", "queue", "limit"].flatMap((name) =>
      textOption(options, name) === undefined ? [] : [[name, textOption(options, name) ?? ""]],
    ),
  );
  const now = asInstant(host.clock.wall());
  const tell = flagOption(options, "absolute") ? absoluteText : (at: Instant) => relativeText(at, now);
  const when = (at: number | null): string | null => (at === null ? null : tell(asInstant(at)));
  const { answer, text } = await listing({ client, query, when, colour: host.output.colour });
  host.output.out(json ? `${JSON.stringify(answer)}\n` : text);
}
