// Requests to a session and to a session filter through our broker, beyond the cells of the matrix: who receives them,
// and what the sender is told if nobody does.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { isRefusal, refused } from "./support/assert.mjs";
import { control, PeerError } from "./support/peers.mjs";
import { openWorld } from "./support/world.mjs";

const world = await openWorld();
after(world.close);

const crossings = world.peers.flatMap((sender) => world.peers.map((receiver) => [sender, receiver]));
const is = ({ id }) => `$SessionId is '${id}'`;

/** By client. */
const askers = new Map();
const answerers = new Map();
before(async () => {
  for (const peer of world.peers) {
    askers.set(peer, await peer.connect());
    answerers.set(peer, await peer.connect());
  }
});

describe("a request to a session", () => {
  before(async () => {
    for (const answerer of answerers.values()) await answerer.stream("inbox", "string", { answer: answerer.id });
  });

  for (const sender of world.peers) {
    test(`of ${sender.name} reaches that session and no other`, async () => {
      for (const { id } of answerers.values()) {
        assert.equal(await askers.get(sender).sendToSession("inbox", id, "string", ""), id);
      }
    });

    test(`of ${sender.name} reaches itself`, async () => {
      const asker = askers.get(sender);
      await asker.stream("self", "string", { echo: true });
      assert.equal(await asker.sendToSession("self", asker.id, "string", "me"), "me");
    });

    // The official clients say so too, in their own ways: oddities.test.mjs.
    test(`of ${sender.name} is refused when the stream of our client reads another data type`, async () => {
      const [asker, { id }] = [askers.get(sender), answerers.get(world.ours)];
      await answerers.get(world.ours).stream("numbers", "int64", { echo: true });
      await refused(sender, asker.sendToSession("numbers", id, "string", "1"), "INCOMPATIBLE_DATATYPE");
      assert.equal(await asker.sendToSession("numbers", id, "int64", 1n), 1n);
    });

    test(`of ${sender.name} is refused when that session is not there any more, or never was`, async () => {
      const gone = await world.js.connect();
      await gone.close();
      for (const id of [gone.id, "00000000000000ab-0000000000000001"]) {
        await refused(sender, askers.get(sender).sendToSession("inbox", id, "string", ""), "NO_SUCH_SESSION");
      }
    });
  }

  for (const [sender, receiver] of crossings.filter(([, receiver]) => receiver !== world.python)) {
    test(`of ${sender.name} is refused when ${receiver.name} has taken its stream back`, async () => {
      const [asker, answerer] = [askers.get(sender), answerers.get(receiver)];
      const path = `closed/${sender.key}`;
      const stream = await answerer.stream(path, "string", { answer: "still here" });
      assert.equal(await asker.sendToSession(path, answerer.id, "string", ""), "still here");
      await stream.close();
      await refused(sender, asker.sendToSession(path, answerer.id, "string", ""), "UNHANDLED_MESSAGE");
    });
  }
});

describe("the two worlds (M-1)", { concurrency: true }, () => {
  for (const [sender, receiver] of crossings) {
    test(`${sender.name} does not reach a request handler of ${receiver.name} by session ID`, async () => {
      const [asker, answerer] = [askers.get(sender), answerers.get(receiver)];
      const path = `worlds/handler/${sender.key}/${receiver.key}`;
      await answerer.handle(path, "string", { answer: "handler" });
      // Official Python answers nothing when it has no stream (protocol.md 8.5).
      const reason = receiver === world.python ? "REQUEST_TIME_OUT" : "UNHANDLED_MESSAGE";
      await refused(sender, asker.sendToSession(path, answerer.id, "string", ""), reason);
      assert.equal(await asker.sendToPath(path, "string", ""), "handler");
    });

    test(`${sender.name} does not reach a stream of ${receiver.name} by path`, async () => {
      const [asker, answerer] = [askers.get(sender), answerers.get(receiver)];
      const path = `worlds/stream/${sender.key}/${receiver.key}`;
      await answerer.stream(path, "string", { answer: "stream" });
      await refused(sender, asker.sendToPath(path, "string", ""), "UNHANDLED_MESSAGE");
      assert.equal(await asker.sendToSession(path, answerer.id, "string", ""), "stream");
    });
  }
});

describe("a request to a session filter", () => {
  /** Of each client a session that answers and one that rejects. */
  const crew = [];
  before(async () => {
    for (const peer of world.peers) {
      for (const action of [{ answer: `hello from ${peer.key}` }, { reject: `not ${peer.key}` }]) {
        const session = await peer.connect({ ...control, properties: { team: "crew" } });
        await session.stream("crew", "string", action);
        crew.push({ session, action });
      }
    }
  });

  for (const sender of world.peers) {
    // Official Python is told of no errors (protocol.md 8.4).
    const what = sender === world.python ? "each response" : "each response and each error";
    test(`of ${sender.name} reaches sessions of all three clients, and ${what} comes back once`, async () => {
      const asker = askers.get(sender);
      const { count, results } = await asker.sendToFilter("team is 'crew'", "crew", "string", "hello");
      assert.equal(count, crew.length);
      const readable = crew.filter(({ action }) => action.answer || sender !== world.python);
      const all = await results(readable.length);
      for (const { session, action } of readable) {
        const [result, ...more] = all.filter((one) => one.session === session.id);
        assert.deepEqual(more, []);
        if (action.answer) assert.equal(result.value, action.answer);
        else isRefusal(sender, result.error, "REJECTED_REQUEST", action.reject);
        if (sender !== world.js) assert.equal(result.expected, count);
      }
      if (sender === world.ours) {
        assert.deepEqual(
          all.map(({ received }) => received),
          all.map((_, index) => index + 1),
        );
      }
      // Its session goes on.
      assert.equal((await asker.sendToFilter("team is 'nobody'", "crew", "string", "")).count, 0);
    });

    test(`of ${sender.name} reaches itself if it matches (M-11)`, async () => {
      const [asker, other] = [askers.get(sender), await world.js.connect()];
      await asker.stream("included", "string", { answer: "me" });
      await other.stream("included", "string", { answer: "the other" });
      const filter = `${is(asker)} or ${is(other)}`;
      const { count, results } = await asker.sendToFilter(filter, "included", "string", "");
      assert.equal(count, 2);
      assert.deepEqual(
        new Map((await results()).map(({ session, value }) => [session, value])),
        new Map([
          [asker.id, "me"],
          [other.id, "the other"],
        ]),
      );
    });

    test(`of ${sender.name} that matches nobody is a count of zero (M-12)`, async () => {
      assert.equal((await askers.get(sender).sendToFilter("team is 'nobody'", "crew", "string", "")).count, 0);
    });

    test(`of ${sender.name} that does not parse is refused with the place (F-3)`, async () => {
      const seen = {
        ours: { type: "INVALID_FILTER", places: [[1, 8]] },
        js: { places: [[1, 8]] },
        // It reads one report without a count in front, so that the text is not what was said (protocol.md 8.4).
        python: { type: "MessagingError" },
      };
      await assert.rejects(askers.get(sender).sendToFilter("team is y", "crew", "string", ""), (error) => {
        assert.ok(error instanceof PeerError, error.stack);
        for (const [name, value] of Object.entries(seen[sender.key])) assert.deepEqual(error[name], value);
        return true;
      });
    });
  }

  for (const sender of [world.ours, world.js]) {
    test(`of ${sender.name} has its own results when the same filter is sent to twice`, async () => {
      const [asker, answerer] = [askers.get(sender), await world.js.connect()];
      await answerer.stream("twice", "string", { echo: true });
      const both = ["first", "second"].map(async (value) => {
        const { results } = await asker.sendToFilter(is(answerer), "twice", "string", value);
        return (await results()).map((result) => result.value);
      });
      assert.deepEqual(await Promise.all(both), [["first"], ["second"]]);
    });

    test(`of ${sender.name} yields a time-out for each session that never answers (M-13)`, async () => {
      const silent = await Promise.all(world.peers.map((peer) => peer.connect()));
      for (const session of silent) await session.stream("silence", "string", { silence: true });
      const { count, results } = await askers
        .get(sender)
        .sendToFilter(silent.map(is).join(" or "), "silence", "string", "");
      assert.equal(count, silent.length);
      const all = await results();
      assert.deepEqual(new Set(all.map(({ session }) => session)), new Set(silent.map(({ id }) => id)));
      for (const { error } of all) isRefusal(sender, error, "REQUEST_TIME_OUT");
    });
  }
});
