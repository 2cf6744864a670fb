import type { Client } from "../protocol/client.ts";

export interface Connection {
  readonly client: Client;
  /** No daemon answered: the store's file is read directly. */
  readonly offline: boolean;
  close(): Promise<void>;
}
