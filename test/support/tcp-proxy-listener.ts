import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** Stands between a client and a server, and can do to their connections what a network does. */
export interface TcpProxy {
  /** The server's URL with the proxy's address. */
  readonly url: string;
  /** From now on the open connections pass no byte either way, and stay open; new ones are as good as before. */
  silence(): void;
  /** Ends the open connections. */
  cut(): void;
  /** Where new connections lead from now on: the host and port of another URL. */
  leadTo(url: string): void;
  /** Whether new connections are answered; else they are accepted, and nobody says a word. */
  answering(whether: boolean): void;
  /** Whether new connections are ended at once, as where no server listens. */
  refusing(whether: boolean): void;
  /** Ends all connections, and listens no more. */
  close(): void;
}

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
}

/** Needs no test runner; in a test use `startTcpProxy` of tcp-proxy.ts. */
export async function openTcpProxy(url: string): Promise<TcpProxy> {
  let target = new URL(url);
  let answers = true;
  let refuses = false;
  const pairs = new Set<Pair>();
  const unanswered = new Set<Socket>();
  const listener = createServer((client) => {
    client.on("error", () => client.destroy());
    if (refuses) {
      client.destroy();
      return;
    }
    if (!answers) {
      unanswered.add(client);
      return;
    }
    const server = connect(Number(target.port), target.hostname);
    server.on("error", () => server.destroy());
    const pair = { client, server };
    pairs.add(pair);
    client.pipe(server);
    server.pipe(client);
    for (const socket of [client, server]) socket.once("close", () => endBoth(pair));
  });
  const endBoth = (pair: Pair): void => {
    pairs.delete(pair);
    pair.client.destroy();
    pair.server.destroy();
  };
  const cut = (): void => {
    for (const pair of pairs) endBoth(pair);
    for (const socket of unanswered) socket.destroy();
    unanswered.clear();
  };
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const own = new URL(url);
  own.hostname = "127.0.0.1";
  own.port = String((listener.address() as AddressInfo).port);
  return {
    url: own.href,
    silence: () => {
      for (const { client, server } of pairs) {
        for (const socket of [client, server]) {
          socket.unpipe();
          socket.pause();
        }
      }
    },
    cut,
    leadTo: (other) => {
      target = new URL(other);
    },
    answering: (whether) => {
      answers = whether;
    },
    refusing: (whether) => {
      refuses = whether;
    },
    close: () => {
      cut();
      listener.close();
    },
  };
}
