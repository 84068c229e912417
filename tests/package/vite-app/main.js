// Asks itself a question through the broker named by `?broker=`, and another one that nobody answers.

import { connect, MessagingError } from "antiphon";

async function run() {
  const session = await connect(new URLSearchParams(location.search).get("broker"));
  await session.messaging.addRequestHandler("greetings", (request) => ({ hello: request.name }));
  const answer = await session.messaging.sendRequestToPath("greetings", { name: "Vite" });
  const refusal = await session.messaging.sendRequestToPath("nobody/there", "?").catch((error) => error);
  await session.close();
  return `${JSON.stringify(answer)} ${refusal instanceof MessagingError} ${refusal.code}`;
}

const show = (text) => {
  document.querySelector("output").textContent = text;
};
run().then(show, (error) => show(`failed: ${error.stack}`));
