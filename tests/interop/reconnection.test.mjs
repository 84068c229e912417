// The official clients lose their connections to our broker and recover by their own rules (protocol.md, sections 10
// and 14). How they do it is their business; nobody may ever get a wrong answer.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import diffusion from "diffusion";
import { startBroker } from "../support/broker.mjs";
import { startCutter } from "../support/cutter.mjs";
import { connectByJavaScript } from "./support/javascript.mjs";
import { control, javascript, python } from "./support/peers.mjs";
import { Queue } from "./support/queue.mjs";

const string = diffusion.datatypes.string();
const binary = diffusion.datatypes.binary();

const RECOVERY_BYTES = 2 ** 20; // what the broker keeps of what it sent to a session
const PATIENCE = 1_000; // ms that the broker gives a handler

const broker = await startBroker(["--request-timeout", `${PATIENCE}ms`, "--ping-period", "200ms"]);
const other = await connectByJavaScript({ url: broker.url, ...control });
after(async () => {
  await other.closeSession();
  await broker.stop();
});

/**
 * A session of official JavaScript through a cutter, `between`, that soon tries to reconnect, and what happens to it:
 * `lost`, `back`, `closed` wait for the next time.
 */
async function open(t) {
  const between = await startCutter(broker);
  const strategy = (reconnect) => setTimeout(reconnect, 5);
  const reconnect = { timeout: 3_000, strategy };
  const session = await connectByJavaScript({ url: between.url, ...control, reconnect });
  t.after(async () => {
    if (!session.isClosed()) await session.closeSession();
    await between.stop();
  });
  const [lost, back] = [new Queue(), new Queue()];
  session.on("disconnect", () => lost.put());
  session.on("reconnect", () => back.put());
  const closed = new Promise((resolve) => session.on("close", resolve));
  const ends = closed.then(({ message }) => Promise.reject(new Error(`the session was closed: ${message}`)));
  ends.catch(() => {});
  return {
    between,
    session,
    messages: session.messages,
    lost: () => lost.take(),
    back: () => Promise.race([back.take(), ends]),
    closed,
  };
}

/** Adds a handler whose requests wait to be answered; `asked` has `{ request, respond }`, `ends` its own end. */
async function handle({ messages }, path, type = string) {
  const [asked, ended] = [new Queue(), new Queue()];
  const handler = {
    onRequest: (request, _, responder) => asked.put({ request, respond: (answer) => responder.respond(answer, type) }),
    onError() {},
    onClose: () => ended.put(true),
  };
  await messages.addRequestHandler(path, handler, [], string);
  return { asked, ended };
}

/** Adds a handler that answers at once, and remembers what it was asked. */
async function echo({ messages }, path) {
  const seen = [];
  const onRequest = (request, _, responder) => {
    seen.push(request);
    responder.respond(`answer to ${request}`, string);
  };
  await messages.addRequestHandler(path, { onRequest, onError() {}, onClose() {} }, [], string);
  return seen;
}

const ask = ({ messages }, path, request, type = string) => messages.sendRequest(path, request, string, type);

describe("official JavaScript", () => {
  test("loses nothing by a cut: its requests are answered, its handlers stay", async (t) => {
    const client = await open(t);
    const { between } = client;
    const id = String(client.session.sessionId);
    const [theirs, ours] = [await handle(other, "cut/other"), await handle(client, "cut/client")];
    const sent = ask(client, "cut/other", "to other");
    const received = ask(other, "cut/client", "to client");
    const [toOther, toClient] = [await theirs.asked.take(), await ours.asked.take()];
    between.shut();
    await client.lost();
    // One answer waits at the broker.
    toOther.respond("answered meanwhile");
    await other.pingServer();
    between.open();
    await client.back();
    toClient.respond("answered after");
    assert.equal(await sent, "answered meanwhile");
    assert.equal(await received, "answered after");
    assert.equal(String(client.session.sessionId), id);
    const again = ask(other, "cut/client", "again");
    (await ours.asked.take()).respond("as before");
    assert.equal(await again, "as before");
  });

  test("recovers from ten cuts in a row", async (t) => {
    const client = await open(t);
    const { between } = client;
    await echo(client, "ten");
    for (let round = 0; round < 10; round += 1) {
      between.cut();
      await client.back();
      assert.equal(await ask(other, "ten", `${round}`), `answer to ${round}`);
      assert.equal(await ask(client, "ten", `${round}`), `answer to ${round}`);
    }
  });

  test("recovers when the broker gave its silent connection up first", async (t) => {
    const client = await open(t);
    const { between } = client;
    const { asked } = await handle(client, "silent");
    between.freeze();
    // The broker finds no answer to its pings, and keeps the request for the session.
    const sent = ask(other, "silent", "kept");
    await new Promise((resolve) => setTimeout(resolve, 500)); // more than two ping periods: the fault itself
    between.cut();
    between.open();
    await client.back();
    (await asked.take()).respond("received");
    assert.equal(await sent, "received");
  });

  for (const count of [1, 2, 3, 5]) {
    const requests = count === 1 ? "a request" : `${count} requests`;
    test(`asked to send ${requests} again gets no wrong answer, and nobody is asked twice`, async (t) => {
      const client = await open(t);
      const { between } = client;
      const path = `resend/${count}`;
      const seen = await echo(other, path);
      between.freeze();
      const names = Array.from({ length: count }, (_, index) => `request ${index}`);
      const outcomes = names.map((name) => ask(client, path, name).catch((error) => error));
      await new Promise(setImmediate); // they are in the connection, and stay there
      between.cut();
      between.open();
      await client.back();
      assert.equal(await ask(client, path, "later"), "answer to later");
      assert.equal(seen[0], "request 0");
      assert.deepEqual(seen, [...new Set(seen)]);
      // It has lost count of what it sent (section 14, item 2), and ends with the next cut.
      between.cut();
      await client.closed;
      for (const [index, outcome] of (await Promise.all(outcomes)).entries()) {
        if (index === 0 || typeof outcome === "string") assert.equal(outcome, `answer to ${names[index]}`);
      }
    });
  }

  test("asked to send answers again gives each sender its own or none", async (t) => {
    const client = await open(t);
    const { between } = client;
    const { asked } = await handle(client, "resend/answers");
    const names = ["a", "b", "c"];
    const sends = names.map((name) => ask(other, "resend/answers", name).catch(({ id }) => id));
    const requests = [await asked.take(), await asked.take(), await asked.take()];
    between.freeze();
    for (const { request, respond } of requests) respond(`answer to ${request}`);
    between.cut();
    between.open();
    await client.back();
    const outcomes = await Promise.all(sends);
    assert.equal(outcomes[0], "answer to a");
    for (const [index, outcome] of outcomes.entries()) {
      assert.ok(outcome === `answer to ${names[index]}` || outcome === 102, `${names[index]}: ${outcome}`);
    }
  });

  test("told that messages were lost (106) forgets its requests and handlers, and can register anew", async (t) => {
    const client = await open(t);
    const { between } = client;
    const mine = await handle(client, "lost/client");
    const large = await handle(other, "lost/large", binary);
    const sent = ask(client, "lost/large", "", binary).then(assert.fail, (error) => error);
    const unanswered = ask(other, "lost/client", "").then(assert.fail, ({ id }) => id);
    const [request] = [await large.asked.take(), await mine.asked.take()];
    between.shut();
    await client.lost();
    request.respond(Buffer.alloc(RECOVERY_BYTES));
    await other.pingServer();
    between.open();
    await client.back();
    await mine.ended.take();
    assert.ok(await sent);
    assert.equal(await unanswered, 101);
    assert.equal(await ask(other, "lost/client", "").catch(({ id }) => id), 109);
    await echo(client, "lost/client");
    assert.equal(await ask(other, "lost/client", "again"), "answer to again");
    between.cut();
    await client.back();
    assert.equal(await ask(other, "lost/client", "and again"), "answer to and again");
  });

  test("ends when the broker has forgotten its session, and what it asked is settled", async (t) => {
    const successor = await startBroker();
    t.after(() => successor.stop());
    const client = await open(t);
    const { between } = client;
    const { asked } = await handle(other, "forgotten");
    const sent = ask(client, "forgotten", "").then(assert.fail, (error) => error);
    await asked.take();
    between.leadTo(successor);
    between.cut();
    await client.closed;
    assert.ok(await sent);
    assert.equal(client.session.isClosed(), true);
  });

  test("is over for the broker when it says goodbye right after a reconnection", async (t) => {
    const client = await open(t);
    const { between } = client;
    await handle(client, "goodbye");
    between.cut();
    await client.back();
    await client.session.closeSession();
    assert.equal(await ask(other, "goodbye", "").catch(({ id }) => id), 109);
  });
});

describe("official Python", () => {
  let snake;
  before(() => {
    snake = python(broker);
  });
  after(() => snake.stop());

  const sender = javascript(broker);
  after(() => sender.closeAll());

  test("with a strategy recovers, and its handlers stay", async (t) => {
    const between = await startCutter(broker);
    t.after(() => between.stop());
    const session = await snake.connect({ ...control, url: between.url, reconnect: true });
    const handler = await session.handle("python/stays", "string", { echo: true });
    const asker = await sender.connect();
    for (let round = 0; round < 3; round += 1) {
      assert.equal(await asker.sendToPath("python/stays", "string", `${round}`), `${round}`);
      await handler.arrival();
      between.cut();
    }
    // Waits at the broker until the session is back.
    assert.equal(await asker.sendToPath("python/stays", "string", "last"), "last");
    assert.equal(await session.sendToPath("python/stays", "string", "own"), "own");
  });

  test("with a strategy gives up what it had asked, by its own rule, and can ask again", async (t) => {
    const between = await startCutter(broker);
    t.after(() => between.stop());
    const session = await snake.connect({ ...control, url: between.url, reconnect: true });
    const { asked } = await handle(other, "python/away");
    const sent = session.sendToPath("python/away", "string", "");
    const request = await asked.take();
    between.cut();
    await assert.rejects(sent, { message: /Disconnected/ });
    request.respond("to nobody");
    const again = session.sendToPath("python/away", "string", "again");
    (await asked.take()).respond("answered");
    assert.equal(await again, "answered");
  });

  test("without one it ends, and the broker keeps its handlers as for a client that may come back", async (t) => {
    const between = await startCutter(broker);
    t.after(() => between.stop());
    const session = await snake.connect({ ...control, url: between.url });
    await session.handle("python/ends", "string", { echo: true });
    const asker = await sender.connect();
    between.cut();
    await assert.rejects(asker.sendToPath("python/ends", "string", ""), { number: 102 });
    await assert.rejects(session.sendToPath("python/ends", "string", ""), { type: "ServerDisconnectedError" });
  });
});
