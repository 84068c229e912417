// greetings.test.js
import { connect } from "antiphon";
import { expect, test } from "vitest";
import { WebSocket } from "ws";

test("a greeting is answered", async () => {
  const session = await connect(process.env.BROKER_URL, { webSocket: WebSocket });
  await session.messaging.addRequestHandler("greetings", (name) => `Hello, ${name}!`);
  expect(await session.messaging.sendRequestToPath("greetings", "Ada")).toBe("Hello, Ada!");
  await session.close();
});
