// Wire peers without any of our client's code: one end of a WebSocket that says what a test tells it to. A client that
// is scripted (`connectPeer`), and a server that is (`startServer`).

import { EventEmitter, once } from "node:events";
import { WebSocket, WebSocketServer } from "ws";
import {
  ABORT,
  batch,
  blob,
  CLOSE_REQUEST,
  connectionResponse,
  ERROR,
  frame,
  join,
  list,
  REGISTER,
  REQUEST,
  RESPONSE,
  readBatch,
  readConnectionResponse,
  readFrame,
  SEND_TO_FILTER,
  SEND_TO_PATH,
  SEND_TO_SESSION,
  SYSTEM_PING,
  sessionId,
  string,
  varint,
} from "../../support/wire.mjs";

/** One end of a connection, after the connection response. */
class Endpoint {
  #received = [];
  #changed = new EventEmitter().setMaxListeners(0);
  #conversations = 0n;
  /** When it was made, in ms. */
  at = performance.now();
  /** The WebSocket messages that have come, as they are. */
  frames = [];
  /** Resolves when the connection is closed, with the code. */
  closed;
  isClosed = false;

  /** `query` is the parameters of the connection (section 2.2), as the client gave them. */
  constructor(socket, query) {
    this.socket = socket;
    this.query = query;
    socket.on("message", (bytes) => {
      this.frames.push(bytes);
      this.#received.push(...readBatch(bytes).map(readFrame));
      this.#changed.emit("change");
    });
    socket.on("error", () => {}); // its end says enough
    this.closed = once(socket, "close").then(([code]) => {
      this.isClosed = true;
      this.#changed.emit("change");
      return code;
    });
  }

  /**
   * The first message that nobody has taken yet and that has the members of `pattern`, each with that value or one of
   * those values; waits for it.
   */
  async next(pattern = {}) {
    for (;;) {
      const message = this.take(pattern);
      if (message) return message;
      if (this.isClosed) throw new Error("the connection was closed while a message was waited for");
      await once(this.#changed, "change");
    }
  }

  /** The same, if it is there already. */
  take(pattern = {}) {
    const isAlike = (message) =>
      Object.entries(pattern).every(([key, wanted]) => [wanted].flat().includes(message[key]));
    const index = this.#received.findIndex(isAlike);
    return index < 0 ? undefined : this.#received.splice(index, 1)[0];
  }

  /** How many messages are there that nobody has taken yet. */
  get untaken() {
    return this.#received.length;
  }

  send(message) {
    this.socket.send(message instanceof Buffer ? message : frame(message));
  }

  /** Sends messages in one. */
  sendBatch(...messages) {
    this.socket.send(batch(...messages));
  }

  nextConversation() {
    this.#conversations += 1n;
    return this.#conversations;
  }

  // Headers may go along with all these: see `withHeaders` in wire.mjs.

  /** Sends a service request; returns its conversation. */
  request(service, body = Buffer.alloc(0), headers = undefined) {
    const conversation = this.nextConversation();
    this.send({ type: REQUEST, service, conversation, body, headers });
    return conversation;
  }

  /** Sends a service request; resolves with the response or the error. */
  ask(service, body, headers) {
    return this.answerTo(this.request(service, body, headers));
  }

  answerTo(conversation) {
    return this.next({ type: [RESPONSE, ERROR], conversation });
  }

  respond({ conversation }, body) {
    this.send({ type: RESPONSE, conversation, body });
  }

  fail({ conversation }, reason, text = "", headers = undefined) {
    this.send({ type: ERROR, conversation, reason, text, headers });
  }

  /** Closes the WebSocket with a code. */
  leave(code) {
    this.socket.close(code);
    return this.closed;
  }

  /** Ends the connection without a word. */
  cut() {
    this.socket.terminate();
    return this.closed;
  }
}

/** A session at the broker that does nothing by itself, except that it answers pings. */
class Peer extends Endpoint {
  constructor(socket, response) {
    super(socket);
    Object.assign(this, response);
  }

  /** Registers a request handler; resolves with the registration, or throws the error. */
  async register(path, keys = [], headers = undefined) {
    const registration = this.nextConversation();
    const body = join(varint(88), string(""), string(path), list(keys.map(string)), varint(registration));
    const answer = await this.ask(REGISTER, body, headers);
    if (answer.type === ERROR) throw Object.assign(new Error(answer.text), { reason: answer.reason });
    return registration;
  }

  // Each returns the conversation.

  sendToPath(path, value, headers) {
    return this.request(SEND_TO_PATH, join(string(path), value), headers);
  }

  sendToSession(session, path, value, headers) {
    return this.request(SEND_TO_SESSION, join(sessionId(session), string(path), value), headers);
  }

  sendToFilter(filter, path, value, filterConversation = this.nextConversation(), headers = undefined) {
    const filterText = typeof filter === "string" ? string(filter) : blob(filter);
    return this.request(SEND_TO_FILTER, join(varint(filterConversation), filterText, string(path), value), headers);
  }

  /** Says goodbye. */
  close() {
    if (!this.isClosed) this.send({ type: CLOSE_REQUEST });
    return this.closed;
  }
}

/** The parameters of a connection (section 2.2), the usual ones and others, as the text of a query. */
export const parametersOf = (others) => String(new URLSearchParams({ ty: "WB", v: 25, ca: 8, r: 0, ...others }));

/** Whether the parameters are in the first message there, and not in the address (section 18.5). */
export const hasPrivateDoor = (url) => new URL(url, "ws://server").pathname === "/antiphon";

/**
 * Opens a session with `broker` that is scripted.
 *
 * @param {{ properties?: object, query?: object, answersPings?: boolean, localAddress?: string, ca?: string }} options
 *   `query` is for parameters of the connection (section 2.2) besides the usual ones, `ca` the authority to trust
 */
export async function connectPeer(broker, { properties = {}, query = {}, answersPings = true, ...socketOptions } = {}) {
  const parameters = parametersOf({ sp: JSON.stringify(properties), ...query });
  const isPrivate = hasPrivateDoor(broker.url);
  const url = isPrivate ? broker.url : `${broker.url}?${parameters}`;
  const socket = new WebSocket(url, { ...socketOptions, perMessageDeflate: false });
  if (isPrivate) socket.once("open", () => socket.send(Buffer.from(parameters)));
  // At once: what was missed may follow in the same packet.
  const peer = await new Promise((resolve, reject) => {
    socket.once("error", reject);
    socket.once("message", (response) => resolve(new Peer(socket, readConnectionResponse(response))));
  });
  if (answersPings) {
    socket.on("message", () => {
      for (let ping = peer.take({ service: SYSTEM_PING }); ping; ping = peer.take({ service: SYSTEM_PING })) {
        peer.respond(ping);
      }
    });
  }
  return peer;
}

/** The session ID that scripted servers give. */
export const SCRIPTED_ID = "00000000000000ab-0000000000000001";

/**
 * Starts a server that is scripted.
 *
 * @param {(message: object, connection: Endpoint) => void} serve gets every message of every client but the goodbyes
 * @param {object | Buffer | null | Array<object | Buffer | null>} responses the connection response: its fields, its
 *   bytes, or none; or one for each connection in turn, of which the last holds for all further ones
 */
export async function startServer(serve = () => {}, responses = {}) {
  const script = [responses].flat();
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  await once(server, "listening");
  const connections = [];
  const changed = new EventEmitter();
  server.on("connection", async (socket, { url }) => {
    let { searchParams } = new URL(url, "ws://server");
    if (hasPrivateDoor(url)) {
      // Without one there is no connection to speak of.
      const [message] = await once(socket, "message").catch(() => []);
      if (!message) return;
      searchParams = new URLSearchParams(String(message));
    }
    const query = Object.fromEntries(searchParams);
    const response = script[Math.min(connections.length, script.length - 1)];
    const connection = new Endpoint(socket, query);
    connections.push(connection);
    socket.on("message", (bytes) => {
      for (const message of readBatch(bytes).map(readFrame)) {
        if (message.type !== CLOSE_REQUEST) serve(message, connection);
        else {
          connection.send({ type: ABORT });
          socket.close();
        }
      }
    });
    if (response instanceof Buffer) socket.send(response);
    else if (response) socket.send(connectionResponse({ id: SCRIPTED_ID, ...response }));
    changed.emit("change");
  });
  return {
    url: `ws://127.0.0.1:${server.address().port}/diffusion`,
    connections,
    /** The connection with this number, counted from 0; waits for it. */
    async connection(number) {
      while (connections.length <= number) await once(changed, "change");
      return connections[number];
    },
    async stop() {
      for (const client of server.clients) client.terminate();
      server.close();
      await once(server, "close");
    },
  };
}
