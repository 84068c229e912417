// Sessions of the official clients and ours on our broker: identity, outstanding requests when they end, pings, and
// services that the broker does not offer.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import diffusion from "diffusion";
import { startBroker } from "../support/broker.mjs";
import { refused } from "./support/assert.mjs";
import { connectByJavaScript } from "./support/javascript.mjs";
import { assemblePage } from "./support/page.mjs";
import { control, ours, PeerError, python } from "./support/peers.mjs";
import { Queue } from "./support/queue.mjs";
import { openWorld } from "./support/world.mjs";

const string = diffusion.datatypes.string();

const world = await openWorld();
after(world.close);

const crossings = world.peers.flatMap((sender) => world.peers.map((receiver) => [sender, receiver]));

describe("session properties", () => {
  for (const [sender, receiver] of crossings) {
    test(`a handler of ${receiver.name} is given the properties of ${sender.name} that it asked for`, async () => {
      const asker = await sender.connect({ ...control, properties: { team: "blue", floor: "3" } });
      const answerer = await receiver.connect();
      const path = `properties/${sender.key}/${receiver.key}`;
      const handler = await answerer.handle(path, "string", { echo: true }, [
        "$Principal",
        "team",
        "$ClientType",
        "none",
      ]);
      await asker.sendToPath(path, "string", "");
      assert.deepEqual((await handler.arrival()).properties, {
        $Principal: "control",
        $ClientType: sender === world.python ? "PYTHON" : "JAVASCRIPT_BROWSER",
        team: "blue",
      });
    });
  }

  for (const [sender, receiver] of crossings) {
    test(`a handler of ${receiver.name} can ask for all properties of ${sender.name}`, async () => {
      const asker = await sender.connect({ ...control, properties: { team: "blue" } });
      const answerer = await receiver.connect();
      const path = `properties/all/${sender.key}/${receiver.key}`;
      const handler = await answerer.handle(path, "string", { echo: true }, ["*F", "*U"]);
      await asker.sendToPath(path, "string", "");
      const { properties } = await handler.arrival();
      const { $SessionId, $Transport, $Environment, team } = properties;
      assert.deepEqual(
        { $SessionId, $Transport, team },
        { $SessionId: asker.id, $Transport: "WEBSOCKET", team: "blue" },
      );
      assert.match($Environment, /^[A-Z]+_/);
    });
  }

  for (const peer of world.peers) {
    test(`${peer.name} is anonymous if it does not say who it is`, async () => {
      const asker = await peer.connect({});
      const answerer = await world.ours.connect();
      const handler = await answerer.handle(`anonymous/${peer.key}`, "string", { echo: true }, ["$Principal"]);
      await asker.sendToPath(`anonymous/${peer.key}`, "string", "");
      assert.deepEqual((await handler.arrival()).properties, { $Principal: "" });
    });
  }
});

describe("a session of official JavaScript", () => {
  test("can read its own fixed properties", async () => {
    const session = await connectByJavaScript({ url: world.broker.url, ...control });
    const { $Principal, $SessionId, $ClientType } = await session.getSessionProperties();
    assert.deepEqual(
      { $Principal, $SessionId, $ClientType },
      { $Principal: "control", $SessionId: String(session.sessionId), $ClientType: "JAVASCRIPT_BROWSER" },
    );
    await session.closeSession();
  });

  test("can change its principal, and handlers learn the new one", async () => {
    const session = await connectByJavaScript({ url: world.broker.url, ...control });
    const answerer = await world.ours.connect();
    const handler = await answerer.handle("changed", "string", { echo: true }, ["$Principal"]);
    await session.security.changePrincipal("client", "password");
    await session.messages.sendRequest("changed", "", string, string);
    assert.deepEqual((await handler.arrival()).properties, { $Principal: "client" });
    await assert.rejects(session.security.changePrincipal("admin", "wrong"));
    await session.messages.sendRequest("changed", "", string, string);
    assert.deepEqual((await handler.arrival()).properties, { $Principal: "client" });
    await session.closeSession();
  });
});

describe("paths", () => {
  for (const [sender, receiver] of crossings.filter(([, receiver]) => receiver !== world.python)) {
    test(`a handler of ${receiver.name} answers ${sender.name} below its path, and is told the path sent`, async () => {
      const [asker, answerer] = [await sender.connect(), await receiver.connect()];
      const path = `below/${sender.key}/${receiver.key}`;
      const handler = await answerer.handle(path, "string", { answer: "here" });
      for (const sent of [`${path}/a`, `${path}/a/b/c d/é`, `/${path}/a/`]) {
        assert.equal(await asker.sendToPath(sent, "string", ""), "here");
        assert.equal((await handler.arrival()).path, sent);
      }
      await refused(sender, asker.sendToPath(`${path}x`, "string", ""), "UNHANDLED_MESSAGE");
    });
  }

  test("official Python answers for its exact path only", async () => {
    const [asker, answerer] = [await world.ours.connect(), await world.python.connect()];
    await answerer.handle("exact", "string", { answer: "here" });
    assert.equal(await asker.sendToPath("exact", "string", ""), "here");
    for (const path of ["exact/a", "/exact", "exact/"]) {
      await refused(world.ours, asker.sendToPath(path, "string", ""), "REJECTED_REQUEST", "Callback threw error");
    }
  });

  test("among the three clients the one with the most specific path answers", async () => {
    const [a, b, c] = [await world.js.connect(), await world.python.connect(), await world.ours.connect()];
    await a.handle("specific", "string", { answer: "far" });
    await b.handle("specific/a/b/c", "string", { answer: "near" });
    await c.handle("specific/a/b", "string", { answer: "nearer" });
    const asker = await world.js.connect();
    const answers = [];
    for (const path of ["specific/z", "specific/a/b/c", "specific/a/b/d"])
      answers.push(await asker.sendToPath(path, "string", ""));
    assert.deepEqual(answers, ["far", "near", "nearer"]);
  });

  for (const peer of world.peers) {
    test(`a second handler of ${peer.name} at a path of its own is a conflict`, async () => {
      const session = await peer.connect();
      await session.handle(`conflict/${peer.key}`, "string", { answer: "first" });
      const second = session.handle(`conflict/${peer.key}`, "string", { answer: "second" });
      await refused(peer, second, "HANDLER_CONFLICT");
    });
  }
});

describe("a handler that is taken back", () => {
  // The Python client cannot.
  for (const [sender, receiver] of crossings.filter(([, receiver]) => receiver !== world.python)) {
    test(`of ${receiver.name} answers no more, and ${sender.name} is told at once`, async () => {
      const [asker, answerer] = [await sender.connect(), await receiver.connect()];
      const path = `closed/${sender.key}/${receiver.key}`;
      const handler = await answerer.handle(path, "string", { answer: "still here" });
      assert.equal(await asker.sendToPath(path, "string", "there?"), "still here");
      await handler.close();
      await refused(sender, asker.sendToPath(path, "string", "there?"), "UNHANDLED_MESSAGE");
    });
  }
});

describe("requests that nobody answers", { concurrency: true }, () => {
  for (const [sender, receiver] of crossings) {
    test(`${sender.name} is told when ${receiver.name} does not answer in time`, async () => {
      const [asker, answerer] = [await sender.connect(), await receiver.connect()];
      const path = `silence/${sender.key}/${receiver.key}`;
      await answerer.handle(path, "string", { silence: true });
      await refused(sender, asker.sendToPath(path, "string", ""), "REQUEST_TIME_OUT");
    });
  }
});

describe("the end of a session", () => {
  test("every client is told at once when the process of official Python is killed before it answers", async () => {
    const victim = python(world.broker);
    await allToldThatSessionsEnded(victim, async () => {
      victim.process.kill("SIGKILL");
      await victim.exited;
    });
  });

  test("every client is told at once when the tab of our client is closed before it answers", async () => {
    const victim = await ours(world.broker, world.browser);
    await allToldThatSessionsEnded(victim, () => victim.page.close());
  });

  test("our client and official JavaScript learn that the broker is gone", async () => {
    const broker = await startBroker(["--www", assemblePage()]);
    try {
      const theirs = await connectByJavaScript({ url: broker.url, ...control, reconnect: false });
      const told = new Promise((resolve) => theirs.on("close", resolve));
      const peer = await ours(broker, world.browser);
      const { outstanding } = await outstandingRequest(peer, peer, { reconnect: false });
      await broker.kill();
      await assert.rejects(outstanding, ({ type, outcome }) => type === "CONNECTION_LOST" && outcome === "unknown");
      await told;
    } finally {
      await broker.kill();
    }
  });

  test("official JavaScript gets its answer from a broker that stops, and looks for a successor", async () => {
    const broker = await startBroker();
    try {
      const strategy = (reconnect) => setTimeout(reconnect, 20);
      const reconnect = { timeout: 20_000, strategy };
      const theirs = await connectByJavaScript({ url: broker.url, ...control, reconnect });
      const events = [];
      for (const event of ["disconnect", "reconnect"]) theirs.on(event, () => events.push(event));
      const closed = new Promise((resolve) => theirs.on("close", resolve));
      const asked = new Queue();
      const onRequest = (_, __, responder) => asked.put(responder);
      await theirs.messages.addRequestHandler("slow", { onRequest, onError() {}, onClose() {} }, [], string);
      const sent = theirs.messages.sendRequest("slow", "?", string, string);
      const responder = await asked.take();
      const exited = broker.stop();
      while (!broker.log().includes("stopping")) await once(broker.process.stderr, "data");
      await assert.rejects(theirs.messages.sendRequest("slow", "?", string, string), {
        id: 112,
        reason: "the broker is stopping, try again later",
      });
      responder.respond("!", string);
      assert.equal(await sent, "!");
      assert.equal(await exited, 0);
      const heir = await startBroker(["--listen", `127.0.0.1:${broker.port}`]);
      try {
        // As after a crash: it is refused, since it can only take up the session that it had.
        assert.match((await closed).message, /rejected/);
        assert.deepEqual(events, ["disconnect"]);
        await (await connectByJavaScript({ url: heir.url, ...control })).closeSession();
      } finally {
        await heir.stop();
      }
    } finally {
      await broker.kill();
    }
  });

  /** Requests of all clients are outstanding at handlers of `victim` when `end` ends it. */
  async function allToldThatSessionsEnded(victim, end) {
    const requests = [];
    for (const sender of world.peers) requests.push({ sender, ...(await outstandingRequest(sender, victim)) });
    const told = requests.map(({ sender, outstanding }) => refused(sender, outstanding, "SESSION_CLOSED"));
    await Promise.all([end(), ...told]);
    for (const { asker, sender } of requests) await goesOn(asker, sender);
  }

  /** A request that has reached its handler, which does not answer. */
  async function outstandingRequest(sender, receiver, options) {
    const [asker, answerer] = [await sender.connect(options), await receiver.connect(options)];
    const path = `ending/${asker.id}`;
    const handler = await answerer.handle(path, "string", { silence: true });
    const outstanding = asker.sendToPath(path, "string", "");
    // It may fail before anyone looks.
    outstanding.catch(() => {});
    await handler.arrival();
    return { asker, outstanding };
  }

  /** The handler is gone, and the sender's session is not. */
  async function goesOn(asker, sender) {
    await refused(sender, asker.sendToPath(`ending/${asker.id}`, "string", ""), "UNHANDLED_MESSAGE");
  }
});

describe("connecting", () => {
  test("official JavaScript is told that its password is wrong", async () => {
    const attempt = connectByJavaScript({ url: world.broker.url, principal: "control", credentials: "wrong" });
    await assert.rejects(attempt, (reason) => reason === diffusion.clients.CloseReason.ACCESS_DENIED);
  });

  test("official Python is told that its password is wrong", async () => {
    const attempt = world.python.connect({ principal: "control", credentials: "wrong" });
    await assert.rejects(attempt, (error) => {
      assert.ok(error instanceof PeerError, error.stack);
      assert.match(error.message, /AUTHENTICATION_FAILED/);
      return true;
    });
  });

  test("our client is told that its password is wrong, and that trying again will not help", async () => {
    const attempt = world.ours.connect({ principal: "control", credentials: "wrong" });
    await assert.rejects(attempt, ({ type, retryable }) => type === "ACCESS_DENIED" && retryable === false);
  });
});

describe("pings", () => {
  for (const peer of world.peers) {
    test(`${peer.name} can ping the broker`, async () => {
      const session = await peer.connect();
      await session.ping();
    });
  }
});

describe("a broker that pings twice a second", () => {
  let broker;
  let peer;
  before(async () => {
    const times = ["--ping-period", "500ms", "--request-timeout", "1700ms"];
    broker = await startBroker(["--www", assemblePage(), ...times]);
    peer = await ours(broker, world.browser);
  });
  after(() => broker.stop());

  // Official JavaScript gives up a connection on which no ping came for two periods, whatever else came.
  test("keeps official JavaScript connected, idle and busy", async () => {
    const events = [];
    const connect = async (name) => {
      const session = await connectByJavaScript({ url: broker.url, ...control });
      for (const event of ["disconnect", "reconnect", "close", "error"])
        session.on(event, () => events.push([name, event]));
      return session;
    };
    const [idle, busy] = [await connect("idle"), await connect("busy")];
    const answerer = await peer.connect();
    await answerer.handle("echo", "string", { echo: true });
    const ask = (session, text) => session.messages.sendRequest("echo", text, string, string);

    await threePeriods(() => ask(busy, "and again"));
    assert.deepEqual(events, []);
    for (const session of [idle, busy]) assert.equal(await ask(session, "still here"), "still here");
    await Promise.all([idle.closeSession(), busy.closeSession()]);
  });

  test("keeps our client connected, idle and busy", async () => {
    const [idle, busy] = [await peer.connect(), await peer.connect()];
    await idle.handle("idle", "string", { echo: true });
    await threePeriods(() => busy.ping());
    assert.equal(await busy.sendToPath("idle", "string", "still here"), "still here");
  });

  /** Does something again and again for more than three periods: as long as the broker waits for an answer. */
  async function threePeriods(act) {
    const [asker, answerer] = [await peer.connect(), await peer.connect()];
    const path = `silence/${asker.id}`;
    await answerer.handle(path, "string", { silence: true });
    let waiting = true;
    const timeOut = refused(peer, asker.sendToPath(path, "string", ""), "REQUEST_TIME_OUT").finally(() => {
      waiting = false;
    });
    while (waiting) await act();
    await timeOut;
  }
});

describe("services that there are not", () => {
  let session;
  before(async () => {
    session = await connectByJavaScript({ url: world.broker.url, ...control });
  });
  after(() => session.closeSession());

  const unsupported = ({ id }) => id === diffusion.errors.UNSUPPORTED.id;

  test("official JavaScript is told that there are no topics, and its session goes on", async () => {
    await assert.rejects(session.select("a/topic"), unsupported);
    await assert.rejects(session.topicUpdate.set("a/topic", string, "value"), unsupported);
    // What it rejects with is undefined; the code is not among those it expects here.
    await assert.rejects(session.topics.add("a/topic", diffusion.topics.TopicType.STRING));
    assert.ok((await session.pingServer()).rtt >= 0);
    assert.ok(session.isConnected());
  });

  test("official Python is told that there are no topics, and its session goes on", async () => {
    const session = await world.python.connect();
    await refused(world.python, session.addTopic("a/topic"), "UNSUPPORTED");
    await session.ping();
  });
});
