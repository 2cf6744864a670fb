import type { NamedProcess, PipeSight } from "./pipe-holders.ts";

/** What is left of a run that could not be stopped. */
export interface Remains {
  readonly survivors: readonly NamedProcess[];
  /** Its life pipe's path; undefined: the pipe is not what keeps the run. */
  readonly heldPipe: string | undefined;
  /** The pipe's holders, if they were searched. */
  readonly pipe: PipeSight | undefined;
}

const namedMax = 5;

/** What is left of a run, for people: `pid 4242 (sleep 600) lives on`. Names what is known and says what is not. */
export function remainsText({ survivors, heldPipe, pipe }: Remains): string {
  if (survivors.length > 0) return `${listed(survivors)} ${survivors.length === 1 ? "lives" : "live"} on`;
  if (heldPipe === undefined) return "nothing of it is to be seen";
  const { holders = [], strangers = [], unseen = [] } = pipe ?? {};
  // A holder that is not the run's own belongs to a nested run or a registered process.
  const others = [...holders, ...strangers];
  if (others.length > 0)
    return `its life pipe ${heldPipe} is held by ${listed(others)}, which ${others.length === 1 ? "is" : "are"} left alone: another's, or not begun by this run`;
  const asRoot = `\`fuser -v ${heldPipe}\`, called as root, names it`;
  if (unseen.length === 0) return `its life pipe ${heldPipe} is held by something that cannot be seen from here; ${asRoot}`;
  return `its life pipe ${heldPipe} is held by something whose open files may not be seen from here, maybe ${listed(unseen)}; ${asRoot}`;
}

function listed(processes: readonly NamedProcess[]): string {
  const names = processes
    .slice(0, namedMax)
    .map(({ process, command }) => `pid ${process.pid}${command === undefined ? "" : ` (${command})`}`);
  const more = processes.length - names.length;
  return `${names.join(", ")}${more === 0 ? "" : ` and ${more} more`}`;
}
