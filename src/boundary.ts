// The boundary between the JavaScript of a session and its client: what each may call of the other. Nothing but numbers,
// strings, bytes and lists of them crosses it, and no call waits for what another one returns, so that a MessagePort
// could carry it, with the client in a worker. Today the functions of `client.rs` are the port, and the listener is put
// together in `session-parts.js`.

/**
 * What the application has started, and waits for. Chosen by JavaScript, counting up: for each exactly one of
 * `callAnswered`, `callEnded` and `callFailed` comes, unless it is abandoned; and that may come before the call returns.
 */
type CallNumber = number;
/** A request handler or stream handler. Chosen by JavaScript, counting up. */
type HandlerNumber = number;
/** A request that is to be answered. Chosen by the client. */
type RequestNumber = number;
/** A connection, or the attempt to open one. Chosen by the client. */
type ConnectionNumber = number;
/** The number of a data type in `tables.js`; 0 if the name on the wire is none of these. */
type TypeCode = number;
/**
 * Whom a request is for, and what `whom` says then: 0 for whichever session handles the path (nothing), 1 for one session
 * (its ID), 2 for all that a session filter matches (the filter).
 */
type Recipient = 0 | 1 | 2;
/**
 * What is looked for, by `whom`: 0 for the number of sessions that match (a session filter), 1 for the handlers that there
 * are (a path), 2 for these whenever they change.
 */
type Sought = 0 | 1 | 2;
/** The path that handlers are registered at, and how many they are; undefined if there are none. */
type Found = [path: string, handlers: number] | undefined;
/** What client and server agreed on: a bit for each of `FEATURES` in `tables.js`, and others. */
type Features = number;
/** Keys and values. */
type Properties = [key: string, value: string][];
/** What a `MessagingError` is made of; `faults` are those of a session filter, `details` a json value. */
type Failure = [
  code: string,
  message: string,
  outcome: "not-sent" | "refused" | "failed" | "unknown",
  reason?: number,
  faults?: [message: string, line: number, column: number][],
  details?: Uint8Array,
];

/** What JavaScript calls. Times are in milliseconds. */
export interface ClientPort {
  /** Starts connecting; `elapsed` of the time allowed has passed already. */
  connect(elapsed: number): void;
  /** Ends the session; `closed` follows, or `connectFailed` if it was not open yet. */
  close(): void;
  /** The page is left: there will be no event of its connection any more. */
  leave(): void;
  /**
   * Makes sure of the connection: the page was frozen or hidden, or is back on the network, or somebody asks for it; or
   * the page is `restored` from the back/forward cache, where no connection lives.
   */
  wake(restored: boolean): void;
  /** Answers `credentialsWanted`: opens the connection, unless it was given up meanwhile. */
  connectWith(connection: ConnectionNumber, credentials: string | Uint8Array | undefined): void;
  /** Answers `credentialsWanted`: there are none, for a reason that people can read. */
  cannotConnect(connection: ConnectionNumber, reason: string): void;
  /** Answers `retryWanted`; without `delay` the client chooses one. */
  retryAfter(delay?: number): void;

  /** Sends what waits to be sent together. */
  flush(): void;

  // What is sent is at the socket when these return; on a connection with batching, when what runs now is done.

  /**
   * Sends a request; with `wait` it waits for a connection while there is none. With `isTimeTold` the recipient is told how
   * much time is left. `key` is its idempotency key, and `metadata` what is said
   * beside it, an object of strings as a json value; empty for none.
   */
  send(
    call: CallNumber,
    recipient: Recipient,
    whom: string,
    path: string,
    type: TypeCode,
    bytes: Uint8Array,
    timeout: number,
    wait: boolean,
    isTimeTold: boolean,
    key: string,
    metadata: Uint8Array,
  ): void;
  invoke(call: CallNumber, service: number, body: Uint8Array): void;
  /** If changes are looked for, each comes as `callEnded`, until the call is abandoned or fails. */
  look(call: CallNumber, what: Sought, whom: string, timeout: number): void;
  ping(call: CallNumber): void;
  getProperties(call: CallNumber, keys: string[]): void;
  changePrincipal(call: CallNumber, principal: string, credentials: string | Uint8Array | undefined): void;
  /**
   * With `wait` the registration waits for a connection while there is none. The broker sends `maxConcurrent` requests at a
   * time, or infinitely many; `maxQueued` further ones may wait there.
   */
  registerHandler(
    call: CallNumber,
    handler: HandlerNumber,
    path: string,
    propertyKeys: string[],
    reregister: boolean,
    addressed: boolean,
    timeout: number,
    maxConcurrent: number,
    maxQueued: number,
    wait: boolean,
  ): void;
  /** The handler gets no more requests; the call ends when the server knows, or at once if there is no connection. */
  deregisterHandler(call: CallNumber, handler: HandlerNumber): void;
  /** Nothing more is to be told of this call; who handles a request that was sent is told that it was given up. */
  abandon(call: CallNumber): void;

  addStream(handler: HandlerNumber, path: string, addressed: boolean, timeout: number): void;
  removeStream(handler: HandlerNumber): void;
  respond(request: RequestNumber, type: TypeCode, bytes: Uint8Array): void;
  /** `details` are a json value, empty for none. */
  refuse(request: RequestNumber, reason: number, text: string, details: Uint8Array): void;

  /** Whether `inspected` is called. */
  inspect(isWanted: boolean): void;
}

/** What the client calls. Bytes can be read until the function returns. Nothing is ever thrown. */
export interface ClientListener {
  stateChanged(to: "connecting" | "connected" | "recovering" | "closed"): void;
  connected(session: string, maxMessageSize: number, features: Features): void;
  /** Nothing follows. */
  connectFailed(code: string, message: string, isRetryable: boolean): void;
  disconnected(reason: string): void;
  messagesLost(requests: number, handlers: number): void;
  reconnected(
    session: string,
    maxMessageSize: number,
    features: Features,
    lossless: boolean,
    newSession: boolean,
  ): void;
  /** Nothing follows. */
  closed(code: string, reason: string): void;
  /** Asks what to connect with; `connectWith` or `cannotConnect` answers, now or later. */
  credentialsWanted(connection: ConnectionNumber): void;
  /** Asks for a call of `flush`, when what runs now is done. */
  flushSoon(): void;
  /** Asks how long to wait before an attempt to reconnect, counted from 1; `retryAfter` answers. */
  retryWanted(attempt: number): void;

  /** `name` is there if `type` is 0. */
  callAnswered(call: CallNumber, type: TypeCode, name: string | undefined, bytes: Uint8Array): void;
  /** With what is no value: a number of sessions, milliseconds, properties, whether the principal was changed, handlers. */
  callEnded(call: CallNumber, response: number | boolean | Properties | Found): void;
  callFailed(call: CallNumber, failure: Failure): void;
  filterAnswered(
    call: CallNumber,
    session: string,
    received: number,
    expected: number,
    type: TypeCode,
    name: string | undefined,
    bytes: Uint8Array,
  ): void;
  filterFailed(call: CallNumber, session: string, received: number, expected: number, failure: Failure): void;
  /** After the outcome of a call to a filter, unless it failed: no more responses will come. */
  filterEnded(call: CallNumber, failure: Failure | undefined): void;

  /**
   * `respond` or `refuse` answers. `sender` is there unless the request is addressed to this session; `timeLeft` is infinite
   * if the sender did not say. `key` is its idempotency key, if it has one, `metadata` a json
   * value, which should be an object of strings, or empty.
   */
  requested(
    request: RequestNumber,
    handler: HandlerNumber,
    path: string,
    sender: string | undefined,
    properties: Properties | undefined,
    type: TypeCode,
    name: string | undefined,
    bytes: Uint8Array,
    timeLeft: number,
    key: string | undefined,
    metadata: Uint8Array,
  ): void;
  /** The answer can no longer be delivered, or nobody waits for it any more. */
  requestAbandoned(request: RequestNumber, failure: Failure): void;
  /** This handler will not be called any more. */
  handlerLost(handler: HandlerNumber): void;

  /** A message passes; `kind` is 0 for a request, 1 for a response, 2 for an error. */
  inspected(
    isOut: boolean,
    kind: number,
    service: number,
    conversation: number,
    path: string | undefined,
    type: TypeCode,
    name: string | undefined,
    bytes: Uint8Array,
    size: number,
  ): void;
}

/**
 * What belongs to where the client is, and would stay there: WebSockets, which may be none of the browser's and say things
 * that no WebSocket says.
 */
export interface SocketShim {
  /** The constructor that the application named. */
  webSocket(): (new (url: string) => object) | undefined;
  /**
   * Passes the events of a WebSocket on to `SocketPort`; or, if it is not made, says what became of it because this was
   * thrown. Returns what is wrong, if anything.
   */
  listen(connection: ConnectionNumber, socket: unknown, isMade: boolean): string | undefined;
  /** A copy of a message that is to be sent. */
  copyOf(frame: Uint8Array): Uint8Array;
  /** Posts a session token, which is a secret, if the WebSocket is not open: the page is left. */
  leave(token: string): void;
  /** Closes a WebSocket; nothing of it is passed on any more. */
  closeSocket(socket: object): void;
}

/** What the shim calls. */
export interface SocketPort {
  opened(connection: ConnectionNumber): void;
  received(connection: ConnectionNumber, frame: Uint8Array): void;
  receivedText(connection: ConnectionNumber): void;
  /** Nothing follows. `canPass` says whether another attempt may succeed. */
  disconnected(connection: ConnectionNumber, code: number, reason: string, canPass: boolean): void;
}
