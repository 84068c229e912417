// greetings.test.js, for Jest
const { connect } = require("antiphon");

test("a greeting is answered", async () => {
  const session = await connect(process.env.BROKER_URL);
  await session.messaging.addRequestHandler("greetings", (name) => `Hello, ${name}!`);
  expect(await session.messaging.sendRequestToPath("greetings", "Ada")).toBe("Hello, Ada!");
  await session.close();
});
