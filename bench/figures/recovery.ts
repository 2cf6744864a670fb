import { type BenchOptions, type Figure, figure, plainFigure, samplesOf } from "../figure.ts";

const names = {
  command: "recovery, SIGKILL of a command: its next run starts after",
  handler: "recovery, SIGKILL of the handler host: the next run starts after",
  adopted: "recovery, SIGKILL of the daemon with 20 commands: adopted by the next start",
  harmed: "recovery, SIGKILL of the daemon with 20 commands: restarted or lost",
} as const;

export async function recovery({ quick, rounds: kills = quick ? 2 : 10, say, runCell }: BenchOptions): Promise<readonly Figure[]> {
  const command = samplesOf(await runCell("cells/recovery.ts", { what: "command", kills }));
  say(`command: ${command.map(Math.round).join(", ")} ms`);
  const handler: number[] = [];
  // One daemon each: a daemon restarts a handler host that keeps dying more and more slowly, on purpose.
  for (let round = 0; round < kills; round++) handler.push(...samplesOf(await runCell("cells/recovery.ts", { what: "handler", kills: 1 })));
  say(`handler host: ${handler.map(Math.round).join(", ")} ms`);
  const daemon = await runCell("cells/recovery.ts", { what: "daemon", kills: 1 });
  say(`daemon: ${JSON.stringify(daemon)}`);
  const { adopted = 0, restarted = 0, lost = 0, readyAfterMs = 0 } = daemon;
  return [
    figure(names.command, "ms", { atMost: 500 }, command),
    plainFigure("recovery, SIGKILL of a command, worst", "ms", [Math.max(...command)]),
    figure(names.handler, "ms", { atMost: 1000 }, handler),
    plainFigure("recovery, SIGKILL of the handler host, worst", "ms", [Math.max(...handler)]),
    figure(names.adopted, "runs", { atLeast: 20 }, [adopted]),
    figure(names.harmed, "runs", { atMost: 0 }, [restarted + lost]),
    plainFigure("recovery, SIGKILL of the daemon: the next start is ready after", "ms", [readyAfterMs]),
  ];
}
