// Part of every application: sends itself a request, and another one that nobody answers.

import { connect, MessagingError } from "antiphon";

export async function ask(url, webSocket) {
  const session = await connect(url, { webSocket });
  await session.messaging.addRequestHandler("greetings", (request) => ({ hello: request.name }));
  const answer = await session.messaging.sendRequestToPath("greetings", { name: "Ada" });
  const refusal = await session.messaging.sendRequestToPath("nobody/there", "?").catch((error) => error);
  await session.close();
  return `${JSON.stringify(answer)} ${refusal instanceof MessagingError} ${refusal.code}`;
}
