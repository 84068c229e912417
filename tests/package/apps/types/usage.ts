// Never run: a few lines of an application, on a page or in a worker. tests/types says in detail what has to compile.

import { type ConnectOptions, connect, init, type MessagingError, type RequestContext, type Session } from "antiphon";
import * as inline from "antiphon/inline";

interface Shop {
  orders: { request: { items: number[] }; response: { id: number } };
}

export async function shop(options: ConnectOptions<Shop>) {
  await init(await WebAssembly.compileStreaming(fetch("/antiphon_bg.wasm")));
  const session = await connect<Shop>("wss://example.com", { ...options, webSocket: WebSocket });
  const { messaging } = session;
  await messaging.addRequestHandler("orders", ({ items }, { path }: RequestContext) => ({
    id: items.length + path.length,
  }));
  const { id } = await messaging.sendRequestToPath("orders", { items: [17] });
  // @ts-expect-error: the contract is known
  await messaging.sendRequestToPath("orders", "tea");
  // @ts-expect-error: a number
  id.toUpperCase();
  await session.close();
}

/** What one entry gives fits the other. */
export const open: (url: string) => Promise<Session> = inline.connect;
export const isOurs = (error: unknown): error is MessagingError => error instanceof inline.MessagingError;
