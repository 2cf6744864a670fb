import { nearestWord } from "../../config/edit-distance.ts";
import { WakefulError } from "../../domain/errors.ts";
import { type CommandCall, type CommandContext, textOption } from "../command.ts";
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
  const { answer, text } = await listing({ client, query, now: host.clock.wall(), colour: host.output.colour });
  host.output.out(json ? `${JSON.stringify(answer)}\n` : text);
}
