// The option `webSocket` takes whatever fits the type `WebSocketLike`, and what does not is an error of its own session
// only. The same for a console that throws, as some test environments have it.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { ConnectError, connect } from "antiphon";
import { WebSocket } from "ws";
import { startBroker } from "../support/broker.mjs";
import { fails, open, options, rejection, unique } from "./support/client.mjs";

const broker = await startBroker();
after(() => broker.stop());

/** Exactly what the types say is used of a WebSocket. */
class Minimal {
  #socket;

  constructor(url) {
    this.#socket = new WebSocket(url);
    this.#socket.on("open", () => this.onopen?.());
    this.#socket.on("message", (data) => this.onmessage?.({ data: new Uint8Array(data).buffer }));
    this.#socket.on("close", (code, reason) => this.onclose?.({ code, reason: String(reason) }));
    this.#socket.on("error", () => this.onerror?.());
  }

  set binaryType(type) {
    this.#socket.binaryType = type;
  }

  send(data) {
    this.#socket.send(data.slice());
  }

  close() {
    this.#socket.close();
  }
}

test("a WebSocket that has what the types say, and nothing else, is enough", async (t) => {
  const session = await open(t, broker, { webSocket: Minimal });
  const path = unique("minimal");
  await session.messaging.addRequestHandler(path, (request) => request);
  assert.equal(await session.messaging.sendRequestToPath(path, "x"), "x");
  await session.close();
  assert.equal((await session.closed).code, "CLOSED_BY_CLIENT");
  const error = await rejection(connect("ws://127.0.0.1:1", { ...options, webSocket: Minimal }));
  assert.equal(error.code, "CONNECTION_ERROR");
});

test("what a WebSocket is given is its own: that of a platform may read it later, as Cloudflare's does", async (t) => {
  const { WebSocket: usual } = globalThis;
  t.after(() => {
    globalThis.WebSocket = usual;
  });
  globalThis.WebSocket = class extends WebSocket {
    send(data) {
      setImmediate(() => super.send(data));
    }
  };
  const session = await open(t, broker, { webSocket: undefined });
  const path = unique("late");
  await session.messaging.addRequestHandler(path, (request) => request);
  const requests = Array.from({ length: 100 }, (_, n) => `${n} `.repeat(n * n));
  const answers = requests.map((request) => session.messaging.sendRequestToPath(path, request));
  assert.deepEqual(await Promise.all(answers), requests);
});

test("a WebSocket that throws where none does ends its own session at most", async (t) => {
  const bystander = await open(t, broker);
  t.mock.method(console, "error", () => {});
  const broken = {
    constructor: class extends WebSocket {
      constructor() {
        throw new Error("broken");
      }
    },
    binaryType: class extends WebSocket {
      set binaryType(_) {
        throw new Error("broken");
      }
    },
    onmessage: class extends WebSocket {
      set onmessage(_) {
        throw new Error("broken");
      }
    },
  };
  for (const [what, webSocket] of Object.entries(broken)) {
    const error = await rejection(connect(broker.url, { ...options, webSocket }));
    assert.ok(error instanceof ConnectError, what);
    assert.deepEqual([error.code, error.cause.message], ["CONNECTION_ERROR", "broken"], what);
  }
  const odd = {
    close: class extends Minimal {
      close() {
        super.close();
        throw new Error("broken");
      }
    },
    events: class extends Minimal {
      set onclose(listen) {
        this.listen = () => listen?.({ code: Symbol("code"), reason: { toString: null } });
      }
      close() {
        super.close();
        this.listen?.();
      }
    },
  };
  for (const webSocket of Object.values(odd)) {
    const session = await open(t, broker, { webSocket });
    await session.ping();
    await session.close();
    assert.equal((await session.closed).byClient, true);
  }
  assert.equal(bystander.state, "connected");
  await bystander.ping();
});

test("a message that cannot be read is one that no server sends", async (t) => {
  let message;
  class Odd extends Minimal {
    set onmessage(listen) {
      message = listen;
    }
  }
  for (const event of [undefined, {}, { data: "text" }, { data: 1 }]) {
    class Talking extends Odd {
      set onopen(listen) {
        if (!listen) return;
        queueMicrotask(() => {
          listen({});
          message(event);
        });
      }
    }
    const error = await rejection(connect(broker.url, { ...options, webSocket: Talking }));
    assert.equal(error.code, "HANDSHAKE_ERROR");
  }
  await (await open(t, broker)).ping();
});

/** A class of WebSockets that fail with this error event, followed by a close event or not. */
const failing = (event, { closes = false } = {}) =>
  class {
    constructor(url) {
      queueMicrotask(() => {
        this.onerror(typeof event === "function" ? event(url) : event);
        if (closes) this.onclose({ code: 1006, reason: "" });
      });
    }

    close() {}
  };

test("S-4 an error ends an attempt without a close event, and says why and whether it can help to try again", async () => {
  const certificate = Object.assign(new Error("self-signed certificate"), { code: "DEPTH_ZERO_SELF_SIGNED_CERT" });
  for (const [error, retryable] of [
    [new Error("connect ECONNREFUSED 127.0.0.1:443"), true],
    [certificate, false],
    [new Error("Unexpected server response: 403"), false],
    [new Error("Unexpected server response: 503"), true],
    [new Error("Unexpected server response: 429"), true],
  ]) {
    for (const closes of [true, false]) {
      const start = performance.now();
      const webSocket = failing({ error, message: error.message }, { closes });
      const failure = await rejection(connect(broker.url, { ...options, webSocket }));
      assert.deepEqual([failure.code, failure.retryable, failure.cause], ["CONNECTION_ERROR", retryable, error]);
      assert.ok(failure.message.includes(error.message), failure.message);
      assert.ok(performance.now() - start < 2000);
    }
  }
});

test("S-2 an error that shows the address shows no secret of it", async () => {
  const said = (url) => new Error(`WebSocket connection to '${url}' failed: status code: 403`);
  const refused = class extends WebSocket {
    constructor(url) {
      throw said(url);
    }
  };
  for (const webSocket of [failing((url) => ({ error: said(url) })), refused]) {
    const given = { ...options, webSocket, principal: "admin", credentials: "marked-secret" };
    const failure = await rejection(connect(broker.url, given));
    assert.match(failure.message, /failed: status code: 403/);
    for (const text of [failure.stack, failure.cause.stack]) assert.ok(!text.includes("password="), text);
  }
});

test("S-4 an address that is too long is named as that", async () => {
  const failure = await rejection(connect(broker.url, { ...options, properties: { long: "x".repeat(80_000) } }));
  assert.equal(failure.code, "CONNECTION_ERROR");
  assert.match(failure.message, /the address is long: 80\d{3} bytes/);
});

test("a constructor that ends the session leaves no connection behind", async (t) => {
  const leaving = new AbortController();
  const sockets = [];
  class Aborting extends WebSocket {
    constructor(url) {
      super(url);
      sockets.push(this);
      leaving.abort();
    }
  }
  const { signal } = leaving;
  assert.equal(
    await rejection(connect(broker.url, { ...options, webSocket: Aborting, signal, properties: { left: "behind" } })),
    signal.reason,
  );
  const [socket] = sockets;
  if (socket.readyState !== WebSocket.CLOSED) await new Promise((resolve) => socket.on("close", resolve));
  const session = await open(t, broker, { properties: { left: "no" } });
  assert.equal(await session.messaging.sendRequestToFilter("left is 'behind'", unique("left"), 1), 0);
});

test("a console that throws harms nobody", async (t) => {
  const [asker, answerer] = [await open(t, broker), await open(t, broker, { log: "trace" })];
  for (const method of ["debug", "info", "warn", "error"]) {
    t.mock.method(console, method, () => {
      throw new Error("this console throws");
    });
  }
  const path = unique("console");
  await answerer.messaging.addRequestHandler(path, () => {
    throw new Error("handler");
  });
  answerer.on("statechange", () => {
    throw new Error("listener");
  });
  await fails(asker.messaging.sendRequestToPath(path, 1), {
    code: "CALLBACK_EXCEPTION",
    reason: 105,
    outcome: "failed",
  });
  await answerer.close();
  assert.equal((await answerer.closed).code, "CLOSED_BY_CLIENT");
  assert.equal(asker.state, "connected");
});

test("a time limit that is no number is an error in the arguments", async () => {
  for (const connectTimeout of [1n, Symbol("soon"), "1", {}]) {
    const error = await rejection(connect(broker.url, { ...options, connectTimeout }));
    assert.deepEqual([error instanceof ConnectError, error.code], [true, "INVALID_ARGUMENT"]);
  }
});
