// Unexpected behaviour of the official clients, and how our broker copes with it. Each test names the section of
// protocol.md or the rule of rules.md that is concerned. A relay records the actual messages, so that a test notices if
// a client is fixed one day.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import diffusion from "diffusion";
import { startBroker } from "../support/broker.mjs";
import { ABORT, CLOSE_REQUEST, ERROR, RESPONSE } from "../support/wire.mjs";
import { refused } from "./support/assert.mjs";
import { connectByJavaScript } from "./support/javascript.mjs";
import { control } from "./support/peers.mjs";
import { startRelay } from "./support/relay.mjs";
import { openWorld } from "./support/world.mjs";

const json = diffusion.datatypes.json();

const relays = [];
const world = await openWorld();
after(async () => {
  await world.close();
  for (const relay of relays) await relay.stop();
});

/** By client, without relays. */
const askers = new Map();
before(async () => {
  for (const peer of world.peers) askers.set(peer, await peer.connect());
});

/** A session of `peer` behind a relay of its own. */
async function relayed(peer, rewrite) {
  const relay = await startRelay(world.broker, rewrite);
  relays.push(relay);
  return { relay, session: await peer.connect({ ...control, url: relay.url }) };
}

const is = ({ id }) => `$SessionId is '${id}'`;
const requests = (messages, service) => messages.filter((message) => message.service === service);
const answers = (messages) => messages.filter(({ type }) => type === RESPONSE || type === ERROR);

/** Services (protocol.md 5.1). */
const DEREGISTRATION = 98;
const FILTER_SENDER = 102;
const FILTER_RESPONSE = 103;

describe("official JavaScript", () => {
  let relay;
  let session;
  before(async () => {
    ({ relay, session } = await relayed(world.js));
    await session.stream("odd/reject", "string", { reject: "not today" });
    await session.stream("odd/throw", "string", { throw: "kaputt" });
    await session.stream("odd/echo", "string", { echo: true });
  });

  const failures = [
    ["rejects", "odd/reject", "string", ["REJECTED_REQUEST", "not today"], [9003, 105, 105]],
    ["throws", "odd/throw", "string", ["CALLBACK_EXCEPTION", "kaputt"], [105, 105]],
    ["is not there", "odd/nothing", "string", ["UNHANDLED_MESSAGE"], [109, 105]],
    ["reads another data type", "odd/echo", "int64", ["INCOMPATIBLE_DATATYPE"], [108, 105]],
  ];
  for (const [how, path, type, reason, numbers] of failures) {
    test(`answers ${numbers.length} times when its stream ${how}, and the first counts (14.1, M-16)`, async () => {
      for (const [sender, asker] of askers) {
        const before = relay.fromClient().length;
        const value = type === "int64" ? 1n : "";
        await refused(sender, asker.sendToSession(path, session.id, type, value), ...reason);
        const sent = () => answers(relay.fromClient().slice(before));
        await relay.until(() => sent().length >= numbers.length);
        assert.equal(await asker.sendToSession("odd/echo", session.id, "string", "next"), "next");
        const [first, ...more] = sent();
        const same = [first, ...more].filter(({ conversation }) => conversation === first.conversation);
        assert.deepEqual(
          same.map(({ reason }) => reason),
          numbers,
        );
      }
    });
  }

  test("answers a request to a filter three times, and its sender has one result (14.1, M-13)", async () => {
    const asking = await relayed(world.js);
    const { count, results } = await asking.session.sendToFilter(is(session), "odd/reject", "string", "");
    assert.equal(count, 1);
    assert.equal((await results())[0].error.number, 9003);
    await session.ping();
    await asking.session.ping();
    assert.equal(requests(asking.relay.fromBroker(), FILTER_RESPONSE).length, 1);
  });

  test("takes back a handler that throws, and answers once (8.5, 14.3)", async () => {
    const start = relay.fromClient().length;
    await session.handle("odd/handler", "string", { throw: "kaputt" });
    const asker = askers.get(world.ours);
    await refused(world.ours, asker.sendToPath("odd/handler", "string", ""), "CALLBACK_EXCEPTION", "kaputt");
    await session.ping();
    const sent = relay.fromClient().slice(start);
    assert.equal(requests(sent, DEREGISTRATION).length, 1);
    assert.equal(answers(sent).length, 1);
    await refused(world.ours, asker.sendToPath("odd/handler", "string", ""), "UNHANDLED_MESSAGE");
  });

  test("takes back a handler that is sent a data type it does not read (rules 4.6)", async () => {
    const asker = askers.get(world.ours);
    await session.handle("odd/type", "int64", { echo: true });
    await refused(world.ours, asker.sendToPath("odd/type", "string", ""), "CALLBACK_EXCEPTION");
    await session.ping();
    await refused(world.ours, asker.sendToPath("odd/type", "int64", 1n), "UNHANDLED_MESSAGE");
  });

  test("says nothing about bytes that its stream cannot read, and removes the stream (rules 4.6)", async () => {
    const { session } = await relayed(world.js, spoilt);
    await session.stream("odd/bytes", "int64", { echo: true });
    const asker = askers.get(world.js);
    await refused(world.js, asker.sendToSession("odd/bytes", session.id, "int64", 1n), "REQUEST_TIME_OUT");
    await refused(world.js, asker.sendToSession("odd/bytes", session.id, "int64", 2n), "UNHANDLED_MESSAGE");
  });

  describe("without naming data types", () => {
    let bare;
    before(async () => {
      bare = await connectByJavaScript({ url: world.broker.url, ...control });
    });
    after(() => bare.closeSession());

    const handle = (path, onRequest) =>
      bare.messages.addRequestHandler(path, { onRequest, onError() {}, onClose() {} }, [], json);

    test("takes back a handler that answers with an array (rules 4.6)", async () => {
      await handle("odd/array", (_request, _context, responder) => responder.respond([1]));
      const asker = askers.get(world.ours);
      await refused(world.ours, asker.sendToPath("odd/array", "json", {}), "CALLBACK_EXCEPTION", "No data type");
      await bare.pingServer();
      await refused(world.ours, asker.sendToPath("odd/array", "json", {}), "UNHANDLED_MESSAGE");
    });

    test("answers with a double, which official Python refuses for json and our client reads (14.10)", async () => {
      await handle("odd/number", (_request, _context, responder) => responder.respond(1));
      assert.equal(await askers.get(world.ours).sendToPath("odd/number", "json", {}), 1);
      const sent = askers.get(world.python).sendToPath("odd/number", "json", {});
      await assert.rejects(sent, { type: "InvalidDataError" });
    });

    test("sends a request before the registration that was called first, and it is refused (5, 14.8)", async () => {
      const registered = handle("odd/race", (_request, _context, responder) => responder.respond("here"));
      await assert.rejects(bare.messages.sendRequest("odd/race", ""), { id: 109 });
      await registered;
      assert.equal(await bare.messages.sendRequest("odd/race", {}), "here");
    });

    test("writes NaN, infinity and large numbers in json as zero (14.6)", async () => {
      const handler = await askers.get(world.ours).handle("odd/numbers", "json", { echo: true });
      await bare.messages.sendRequest("odd/numbers", { numbers: [Number.NaN, Infinity, 1e300] });
      assert.deepEqual((await handler.arrival()).value, { numbers: [0, 0, 0] });
    });
  });

  test("says that it closes, and is answered (11, 14.7)", async () => {
    const { relay, session } = await relayed(world.js);
    await session.close();
    await relay.until(() => relay.fromBroker().at(-1)?.type === "end");
    assert.ok(relay.fromClient().some(({ type }) => type === CLOSE_REQUEST));
    assert.deepEqual(
      relay.fromBroker().map(({ type }) => type),
      [ABORT, "end"],
    );
  });
});

describe("official Python", () => {
  test("closes without saying so, and its session ends all the same (11, 14.7)", async () => {
    const { relay, session } = await relayed(world.python);
    const stream = await session.stream("odd/closing", "string", { silence: true });
    const outstanding = askers.get(world.js).sendToSession("odd/closing", session.id, "string", "");
    await stream.arrival();
    await Promise.all([refused(world.js, outstanding, "SESSION_CLOSED"), session.close()]);
    assert.deepEqual(
      relay.fromClient().map(({ type }) => type),
      ["end"],
    );
    for (const [sender, asker] of askers) {
      await refused(sender, asker.sendToSession("odd/closing", session.id, "string", ""), "NO_SUCH_SESSION");
    }
  });

  test("acknowledges responses to a filter and never errors, and goes on (8.4, 12, 14.4, M-14)", async () => {
    const answering = await world.js.connect();
    await answering.stream("odd/fine", "string", { answer: "fine" });
    await answering.stream("odd/reject", "string", { reject: "not today" });
    const { relay, session } = await relayed(world.python);
    const filter = is(answering);
    for (const path of ["odd/reject", "odd/fine", "odd/reject", "odd/fine"]) {
      const { count, results } = await session.sendToFilter(filter, path, "string", "");
      assert.equal(count, 1);
      if (path === "odd/fine") assert.equal((await results())[0].value, "fine");
    }
    await session.ping();
    const delivered = requests(relay.fromBroker(), FILTER_RESPONSE).map(({ conversation }) => conversation);
    assert.equal(delivered.length, 4);
    const acknowledged = answers(relay.fromClient()).map(({ conversation }) => conversation);
    assert.deepEqual(acknowledged, [delivered[1], delivered[3]]);
  });

  test("relies on the count coming before the first response (8.4, M-10)", async () => {
    const { relay, session } = await relayed(world.python);
    await session.stream("odd/self", "string", { echo: true });
    const { results } = await session.sendToFilter(is(session), "odd/self", "string", "me");
    assert.deepEqual(await results(), [{ session: session.id, value: "me", received: 1, expected: 1 }]);
    const [{ conversation }] = requests(relay.fromClient(), FILTER_SENDER);
    const messages = relay.fromBroker();
    const count = messages.findIndex((message) => message.type === RESPONSE && message.conversation === conversation);
    assert.ok(count < messages.findIndex(({ service }) => service === FILTER_RESPONSE));
  });

  test("shows one character of what is wrong with a filter (8.4, 12)", async () => {
    const sent = askers.get(world.python).sendToFilter("team is y", "odd", "string", "");
    await assert.rejects(sent, ({ type, message }) => type === "MessagingError" && message.length === 1);
  });

  test("answers 9003 for a request that its handler cannot read (rules 4.6)", async () => {
    const { session } = await relayed(world.python, spoilt);
    await session.handle("odd/int64", "int64", { echo: true });
    const asker = askers.get(world.ours);
    for (const [type, value] of [
      ["string", ""],
      ["int64", 1n],
    ]) {
      const sent = asker.sendToPath("odd/int64", type, value);
      await refused(world.ours, sent, "REJECTED_REQUEST", "Callback threw error");
    }
    assert.equal(await asker.sendToPath("odd/int64", "int64", 2n), 2n);
  });

  test("answers once when its stream reads another data type (8.5)", async () => {
    const { relay, session } = await relayed(world.python);
    await session.stream("odd/int64", "int64", { echo: true });
    for (const [sender, asker] of askers) {
      const before = relay.fromClient().length;
      await refused(sender, asker.sendToSession("odd/int64", session.id, "string", ""), "INCOMPATIBLE_DATATYPE");
      assert.equal(await asker.sendToSession("odd/int64", session.id, "int64", 3n), 3n);
      assert.deepEqual(
        answers(relay.fromClient().slice(before)).map(({ type }) => type),
        [ERROR, RESPONSE],
      );
    }
  });

  test("sends a None answer of a stream in a form that is passed on as it is (M-17)", async () => {
    const { relay, session } = await relayed(world.python);
    await session.stream("odd/none", "string", { answer: null });
    const asking = await relayed(world.js);
    // What to make of a data type odd/none is up to the sender.
    await asking.session.sendToSession("odd/none", session.id, "string", "x").catch(() => {});
    const [sent] = answers(relay.fromClient());
    const [received] = answers(asking.relay.fromBroker());
    assert.deepEqual([received.type, received.body], [sent.type, sent.body]);
  });

  describe("that never answers", { concurrency: true }, () => {
    const silences = [
      ["its stream throws", "odd/throw"],
      ["it has no stream", "odd/nothing"],
      ["its stream cannot read the bytes", "odd/int64"],
    ];
    for (const [how, path] of silences) {
      test(`because ${how} is answered for by the broker, and goes on (8.5, M-15)`, async () => {
        const { relay, session } = await relayed(world.python, spoilt);
        await session.stream("odd/throw", "int64", { throw: "kaputt" });
        await session.stream("odd/int64", "int64", { echo: true });
        const outstanding = [...askers].map(([sender, asker]) =>
          refused(sender, asker.sendToSession(path, session.id, "int64", 1n), "REQUEST_TIME_OUT"),
        );
        await Promise.all(outstanding);
        assert.deepEqual(answers(relay.fromClient()), []);
        assert.equal(await askers.get(world.js).sendToSession("odd/int64", session.id, "int64", 2n), 2n);
      });
    }
  });

  test("waits for ever if its handler awaits a request of its own, and holds up nobody else (M-20)", async () => {
    const patient = await startBroker(["--reconnect-timeout", "0s"]); // waits a minute for an answer
    try {
      const connect = (peer) => peer.connect({ ...control, url: patient.url });
      const [stuck, other] = [await connect(world.python), await connect(world.python)];
      await other.handle("odd/helper", "string", { echo: true });
      const handler = await stuck.handle("odd/stuck", "string", { ask: "odd/helper" });
      const outstanding = [];
      for (const sender of world.peers) {
        const asker = await connect(sender);
        outstanding.push(refused(sender, asker.sendToPath("odd/stuck", "string", ""), "SESSION_CLOSED"));
        assert.equal(await asker.sendToPath("odd/helper", "string", "meanwhile"), "meanwhile");
      }
      await handler.arrival();
      await Promise.all([...outstanding, stuck.close()]);
    } finally {
      await patient.stop();
    }
  });
});

/** The int64 1 becomes a text that ends too soon. */
function spoilt(message) {
  const one = Buffer.from("\u0005int64\u0001\u0001");
  const text = Buffer.from("\u0005int64\u0001\u0061");
  const at = message.length - one.length;
  return message.includes(one, at) ? Buffer.concat([message.subarray(0, at), text]) : message;
}
