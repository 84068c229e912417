// Never run: a few lines of a program for Node.js, with the package ws, in a project without the browser's types.

import { connect, init, MessagingError, type Session } from "antiphon";
import * as inline from "antiphon/inline";
import { WebSocket } from "ws";

export async function ask(url: URL): Promise<number> {
  await init(new Uint8Array());
  const session = await connect(url, { webSocket: WebSocket, signal: AbortSignal.timeout(5000) });
  try {
    return await session.messaging.sendRequestToPath<number>("prices/eu", { item: 17 });
  } catch (error) {
    if (error instanceof MessagingError) console.error(error.code, error.outcome);
    throw error;
  } finally {
    await session.close();
  }
}

/** What one entry gives fits the other. */
export const open: (url: string) => Promise<Session> = inline.connect;
