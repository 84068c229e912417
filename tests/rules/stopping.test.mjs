// Rule S-14: a broker that is told to stop lets what is under way end, and its clients go on with a successor.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { connect } from "antiphon";
import { startBroker } from "../support/broker.mjs";
import { ABORT, REQUEST, text } from "../support/wire.mjs";
import { fails, gate, open, openAll, options } from "./support/client.mjs";
import { connectPeer } from "./support/endpoint.mjs";

async function brokerFor(t, ...args) {
  const broker = await startBroker(args);
  t.after(() => broker.kill());
  return broker;
}

/** Waits until the broker has written this to its log. */
async function logged(broker, line) {
  while (!broker.log().includes(line)) await once(broker.process.stderr, "data");
}

/** The next event of this name. */
const next = (session, event) => new Promise((resolve) => session.on(event, resolve));

/** Two sessions, and a request that one of them has asked the other, who has not answered. */
async function underWay(t, broker, given) {
  const [asker, answerer] = await openAll(t, broker, 2, given);
  const [isAsked, isToAnswer] = [gate(), gate()];
  await answerer.messaging.addRequestHandler("slow", async () => {
    isAsked.open();
    await isToAnswer.opened;
    return "in time";
  });
  const sent = asker.messaging.sendRequestToPath("slow", 1);
  await isAsked.opened;
  return { asker, answerer, sent, answer: isToAnswer.open };
}

test("S-14 what is under way is answered, nothing begins, and the sessions go on with a successor", async (t) => {
  const broker = await brokerFor(t);
  const { asker, answerer, sent, answer } = await underWay(t, broker, { reconnect: { delay: () => 10 } });
  const ids = [asker.id, answerer.id];
  const lost = [next(asker, "disconnect"), next(answerer, "disconnect")];
  const back = [next(asker, "reconnect"), next(answerer, "reconnect")];
  const exited = broker.stop();
  await logged(broker, "stopping");
  await assert.rejects(open(t, broker), { code: "CONNECTION_ERROR", retryable: true });
  const refused = { code: "CLUSTER_ROUTING", reason: 112, outcome: "refused", message: /the broker is stopping/ };
  await fails(asker.messaging.sendRequestToPath("slow", 2), refused);
  await fails(asker.messaging.sendRequestToSession("slow", answerer.id, 2), refused);
  await fails(asker.messaging.sendRequestToFilter("all", "slow", 2), refused);
  assert.deepEqual([asker.state, answerer.state], ["connected", "connected"]);
  answer();
  assert.equal(await sent, "in time");
  await Promise.all(lost);
  assert.equal(await exited, 0);

  await brokerFor(t, "--listen", `127.0.0.1:${broker.port}`);
  await Promise.all(back);
  assert.ok(!ids.includes(asker.id) && !ids.includes(answerer.id), "a broker that knows nothing of them");
  await answerer.ping(); // which comes after its registration
  assert.equal(await asker.messaging.sendRequestToPath("slow", 3), "in time");
});

test("S-14 what is not answered within --drain is lost with the connection", async (t) => {
  const broker = await brokerFor(t, "--drain", "100ms");
  const { sent } = await underWay(t, broker);
  const failing = fails(sent, { code: "CONNECTION_LOST", outcome: "unknown" });
  assert.equal(await broker.stop(), 0);
  await failing;
});

test("S-14 clients are not told that their sessions are over", async (t) => {
  const broker = await brokerFor(t);
  const [asker, answerer] = [await connectPeer(broker, { query: { r: 60_000 } }), await connectPeer(broker)];
  await answerer.register("work");
  asker.sendToPath("work", text("?"));
  const asked = await answerer.next({ type: REQUEST });
  const exited = broker.stop();
  await logged(broker, "stopping");
  answerer.respond(asked, text("!"));
  await Promise.all([asker.closed, answerer.closed]);
  assert.ok(asker.take({ type: 6 }), "the answer came before the end");
  assert.equal(asker.take({ type: ABORT }) ?? answerer.take({ type: ABORT }), undefined);
  assert.equal(await exited, 0);
});

test("S-14 a broker that is told a second time ends at once", async (t) => {
  const broker = await brokerFor(t, "--drain", "1h");
  const { sent } = await underWay(t, broker);
  const failing = fails(sent, { code: "CONNECTION_LOST", outcome: "unknown" });
  const exited = broker.stop();
  await logged(broker, "stopping");
  broker.process.kill("SIGINT");
  assert.equal(await exited, 0);
  await failing;
});

test("a closed terminal does not stop the broker", async (t) => {
  const broker = await brokerFor(t);
  const session = await connect(broker.url, options);
  broker.process.kill("SIGHUP");
  await logged(broker, "SIGHUP");
  await session.ping();
  await session.close();
  assert.equal(await broker.stop(), 0);
});
