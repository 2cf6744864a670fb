import { onTestFinished } from "vitest";
import { openTcpProxy, type TcpProxy } from "./tcp-proxy-listener.ts";

/** Closed when the test ends. */
export async function startTcpProxy(url: string): Promise<TcpProxy> {
  const proxy = await openTcpProxy(url);
  onTestFinished(() => proxy.close());
  return proxy;
}
