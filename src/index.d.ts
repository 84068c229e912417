/// <reference lib="esnext.disposable" />
// biome-ignore-all lint/suspicious/noExplicitAny: without a contract nothing is known about a value

/**
 * Request-response messaging for web apps: a tab asks, another session answers, over one WebSocket.
 *
 * Start with {@link connect}. A {@link Session} has a {@link Messaging} component, which sends requests and answers
 * them. The examples of this reference run as they stand; those without an `import` have an open `session`.
 *
 * @example
 * import { connect } from "antiphon";
 *
 * const session = await connect("ws://localhost:8080");
 * await session.messaging.addRequestHandler("greetings", (name) => `Hello, ${name}!`);
 * console.log(await session.messaging.sendRequestToPath("greetings", "Ada")); // -> Hello, Ada!
 *
 * @module antiphon
 */

/**
 * Opens a session.
 *
 * `ws://host:port` alone means the path `/diffusion`; `http://` and `https://` are read as `ws://` and `wss://`. The
 * WebAssembly is loaded with the first call. Node.js before version 22 has no WebSocket; pass one as
 * {@link ConnectOptions.webSocket}.
 *
 * @param url where the broker listens; without user name and password, which are options
 * @param options how to connect; default: anonymous, with reconnection
 * @returns the session, once the broker has accepted it
 * @throws {@link ConnectError} if no session could be opened, or the signal's reason if it was aborted
 * @example
 * const session = await connect("wss://example.com", { principal: "control", credentials: "password" });
 * console.log(session.state); // -> connected
 */
export function connect<C extends Contract = AnyContract>(
  url: string | URL,
  options?: ConnectOptions<C>,
): Promise<Session<C>>;

/**
 * Loads the WebAssembly before the first {@link connect}, or from a place of your own. Nobody has to call it. Once it
 * is loaded, further calls do nothing.
 *
 * @param source where the `.wasm` file is, or what it holds; default: beside this module, or within it
 * @throws {@link ConnectError} with code `WASM_LOAD_FAILED`; the next call tries again
 * @example
 * await init(); // while the user still reads the login page
 * @example
 * await init("https://cdn.example.com/antiphon_bg.wasm");
 */
export function init(
  source?: string | URL | Request | Response | ArrayBuffer | ArrayBufferView | WebAssembly.Module | Promise<Response>,
): Promise<void>;

/**
 * How to connect. All of it can be left out.
 *
 * @example
 * const options: ConnectOptions = {
 *   principal: "control",
 *   credentials: async () => "password",
 *   properties: { team: "blue", $Country: "GB" },
 *   connectTimeout: 5000,
 *   requestTimeout: 10_000,
 *   reconnect: { timeout: 120_000 },
 *   maxMessageSize: 1024 * 1024,
 *   signal: AbortSignal.timeout(20_000),
 *   webSocket: WebSocket,
 *   protocolVersion: 25,
 *   log: "error",
 * };
 * const session = await connect("ws://localhost:8080", options);
 * console.log(session.principal); // -> control
 */
export interface ConnectOptions<C extends Contract = AnyContract> {
  /** Who connects. Default: anonymous. */
  principal?: string;
  /**
   * Proof of it: a password, or bytes for an authenticator of your own. A function is asked before every attempt, so
   * that a token can be fresh; if it fails, so does the attempt (`CONNECTION_ERROR`). Default: none.
   */
  credentials?: Credentials | (() => Credentials | undefined | Promise<Credentials | undefined>);
  /**
   * Session properties to propose; the broker decides which it accepts. Keys have no blanks, quotes or parentheses.
   * Default: none but `$Environment`, which says where the client runs.
   */
  properties?: Record<string, string>;
  /** Milliseconds from the call to the open session, else `CONNECTION_TIMEOUT`. Default: 10 000. */
  connectTimeout?: number;
  /**
   * Milliseconds for requests that name no {@link RequestOptions.timeout}, for registrations, pings and whatever else
   * is asked of the broker. Default: 30 000.
   */
  requestTimeout?: number;
  /**
   * What happens when the connection is lost. `false`: the session ends. Default: {@link ReconnectOptions} as they are.
   */
  reconnect?: false | ReconnectOptions;
  /**
   * Largest message taken from the broker, in bytes, at least 1024. A larger one costs the request that it belongs to
   * (`MESSAGE_TOO_LARGE`), and nothing else. Default: 32 MiB, and 256 KiB for what goes with a value.
   */
  maxMessageSize?: number;
  /** Gives up connecting when it is aborted; {@link connect} rejects with its reason. Default: none. */
  signal?: AbortSignal;
  /** The WebSocket constructor to use, for example that of the package `ws`. Default: the platform's. */
  webSocket?: {
    /** Opens a connection. The URL is a secret: its query has the credentials. */
    new (url: string): WebSocketLike;
  };
  /** Version of the wire protocol to ask for, 22 to 29. Default: 25. */
  protocolVersion?: number;
  /**
   * Standard Schemas by exact path: requests and responses are checked against them on both sides. Checks never replace
   * a value. A schema of a request must not be asynchronous, since requests are sent at the call. For types alone no
   * value is needed: `connect<Shop>(url)`. Default: no checks.
   *
   * @example
   * const text: StandardSchemaV1<string> = {
   *   "~standard": {
   *     version: 1,
   *     vendor: "example",
   *     validate: (value) => (typeof value === "string" ? { value } : { issues: [{ message: "must be text" }] }),
   *   },
   * };
   * const contract = { greetings: { request: text, response: text } };
   * const { messaging } = await connect("ws://localhost:8080", { contract });
   * await messaging.addRequestHandler("greetings", (name) => `Hello, ${name}!`);
   * console.log(await messaging.sendRequestToPath("greetings", "Ada")); // -> Hello, Ada!
   */
  contract?: C;
  /** How much goes to the console; never secrets or payloads. Default: `"warn"`. */
  log?: "off" | "error" | "warn" | "info" | "debug" | "trace";
}

/**
 * How a lost connection is replaced.
 *
 * @example
 * const reconnect: ReconnectOptions = { timeout: 300_000, delay: (attempt) => Math.min(attempt * 1000, 10_000) };
 * const session = await connect("ws://localhost:8080", { reconnect });
 */
export interface ReconnectOptions {
  /**
   * Milliseconds that the broker is asked to keep the session, and that the client tries to get another connection;
   * then the session is closed with `CONNECTION_TIMEOUT`. The broker may allow less. Default: 60 000.
   */
  timeout?: number;
  /**
   * Chooses the milliseconds before each attempt, counted from 1. Default: a random time up to 100 ms, twice as long
   * for each further attempt, 5 s at most.
   */
  delay?: (attempt: number) => number;
}

/**
 * A password, or bytes that an authenticator understands.
 *
 * @example
 * const credentials: Credentials = new TextEncoder().encode("token of an authenticator");
 */
export type Credentials = string | Uint8Array;

/**
 * What is used of a WebSocket. The platform's fits, that of the package `ws` fits, and so does one of your own.
 *
 * @example
 * // Shows an application on a slow network.
 * class SlowSocket implements WebSocketLike {
 *   binaryType = "arraybuffer";
 *   onopen: WebSocketLike["onopen"] = null;
 *   onmessage: WebSocketLike["onmessage"] = null;
 *   onclose: WebSocketLike["onclose"] = null;
 *   onerror: WebSocketLike["onerror"] = null;
 *   #socket: WebSocket;
 *   constructor(url: string) {
 *     this.#socket = new WebSocket(url);
 *     this.#socket.binaryType = "arraybuffer";
 *     this.#socket.onopen = (event) => this.onopen?.(event);
 *     this.#socket.onmessage = (event) => setTimeout(() => this.onmessage?.(event), 100);
 *     this.#socket.onclose = (event) => this.onclose?.(event);
 *     this.#socket.onerror = (event) => this.onerror?.(event);
 *   }
 *   send(data: Uint8Array<ArrayBuffer>) {
 *     this.#socket.send(data);
 *   }
 *   close() {
 *     this.#socket.close();
 *   }
 * }
 * const session = await connect("ws://localhost:8080", { webSocket: SlowSocket });
 * console.log((await session.ping()) > 50); // -> true
 * await session.close();
 */
export interface WebSocketLike {
  /** Set to `"arraybuffer"`; messages have to arrive as such. */
  binaryType: string;
  /** Set by the client; called when the connection is open. */
  onopen: ((event: any) => unknown) | null;
  /** Set by the client; called with `{ data }` for each message. */
  onmessage: ((event: any) => unknown) | null;
  /** Set by the client; called with `{ code, reason }` when the connection is closed. */
  onclose: ((event: any) => unknown) | null;
  /** Set by the client; what it is called with is not looked at, since a close follows. */
  onerror: ((event: any) => unknown) | null;
  /**
   * Sends a binary message; the bytes are the socket's to keep.
   *
   * @example
   * class CountingSocket extends WebSocket {
   *   static bytes = 0;
   *   override send(data: Uint8Array<ArrayBuffer>) {
   *     CountingSocket.bytes += data.byteLength;
   *     super.send(data);
   *   }
   * }
   * const session = await connect("ws://localhost:8080", { webSocket: CountingSocket });
   * await session.ping();
   * console.log(CountingSocket.bytes > 0); // -> true
   */
  send(data: Uint8Array<ArrayBuffer>): void;
  /**
   * Closes the connection, or stops opening it.
   *
   * @example
   * let socket: WebSocketLike | undefined;
   * class BreakableSocket extends WebSocket {
   *   constructor(url: string) {
   *     super(url);
   *     socket = this;
   *   }
   * }
   * const session = await connect("ws://localhost:8080", { webSocket: BreakableSocket });
   * session.on("reconnect", ({ lossless }) => console.log(lossless)); // -> true
   * socket?.close(); // as if the network had failed
   */
  close(): void;
}

/**
 * A session with a broker: its record of this client. It outlives its connections, and ends with {@link close}, with
 * the page, by the broker, or when no connection comes about in time.
 *
 * @example
 * const session = await connect("ws://localhost:8080", { principal: "control", credentials: "password" });
 * console.log(session.state, session.principal, session.id); // -> connected control …
 * console.log(session.services === session.messaging.services); // -> true
 * session.closed.then(({ code }) => console.log(code)); // -> CLOSED_BY_CLIENT
 * await session.close();
 */
export interface Session<C extends Contract = AnyContract> {
  /**
   * Names the session, e.g. `c11fef067d9debd4-0000000100000000`. Changes only when the broker had to open a new one.
   */
  readonly id: string;
  /** Who this session is; empty for anonymous. */
  readonly principal: string;
  /** What the session is doing. */
  readonly state: SessionState;
  /** Sending requests and answering them. */
  readonly messaging: Messaging<C>;
  /** The services of the protocol, for what this package has no method for. The same object as `messaging.services`. */
  readonly services: ServiceLocator;
  /** Settles once when the session is over, and never rejects. */
  readonly closed: Promise<CloseInfo>;
  /**
   * Adds a listener. What it throws is reported as an uncaught error and disturbs nobody else.
   *
   * @param event one of {@link SessionEvents}
   * @param listener is called with the details
   * @returns a function that takes it out again
   * @throws TypeError if there is no such event, or the listener is no function
   * @example
   * const stop = session.on("disconnect", ({ reason }) => console.log(`offline: ${reason}`));
   * stop();
   */
  on<E extends { [E in keyof SessionEvents]: E }[keyof SessionEvents]>(
    event: E,
    listener: (detail: SessionEvents[E]) => void,
  ): () => void;
  /**
   * Measures a round trip to the broker.
   *
   * @returns milliseconds
   * @throws {@link MessagingError}: `NOT_CONNECTED`, `TIMED_OUT` after `requestTimeout`, `CONNECTION_LOST`,
   *   `SESSION_CLOSED`
   * @example
   * const milliseconds = await session.ping();
   * console.log(milliseconds < 1000); // -> true
   */
  ping(): Promise<number>;
  /**
   * Looks after the connection now, for example when the application knows that the network has changed. While it is
   * being replaced, the next attempt is made at once.
   *
   * @example
   * session.reconnect();
   * console.log(session.state); // -> connected
   */
  reconnect(): void;
  /**
   * Gives the session another principal, for example when a token was renewed; the session and its ID stay.
   *
   * @param principal who this session wants to be
   * @param credentials proof of it
   * @returns whether the broker accepted it; if not, the session stays as it was
   * @throws {@link MessagingError}: as {@link ping}, and `INVALID_ARGUMENT`
   * @example
   * console.log(await session.changePrincipal("control", "password"), session.principal); // -> true control
   */
  changePrincipal(principal: string, credentials?: Credentials): Promise<boolean>;
  /**
   * This session's own properties as the broker knows them. A property that the session does not have is left out.
   *
   * @param keys which; may hold {@link ALL_FIXED_PROPERTIES} and {@link ALL_USER_PROPERTIES}. Default: all
   * @throws {@link MessagingError}: as {@link ping}, and `INVALID_ARGUMENT`
   * @example
   * const session = await connect("ws://localhost:8080", { properties: { team: "blue" } });
   * console.log(await session.getProperties(["team", "$Transport"])); // -> { '$Transport': 'WEBSOCKET', team: 'blue' }
   */
  getProperties(keys?: readonly string[]): Promise<Record<string, string>>;
  /**
   * Shows the messages of this session as they pass, for debugging and for tests. It costs nothing while nobody looks.
   *
   * While there is a listener, each request that is sent is also a `performance.measure` called `antiphon` and its
   * path, whose `detail` is `{ path, outcome }` with the outcome `"ok"`, an error code, or `"ABORTED"`; so it is seen
   * in the browser's Performance panel. The entries stay in the page's performance buffer until
   * `performance.clearMeasures()`.
   *
   * @param listener is called for each message, at once; credentials and the session token are never shown
   * @param options `values: true` decodes the value of each message for the listener; default: false
   * @returns a function that stops it
   * @throws TypeError if the listener is no function
   * @example
   * await session.messaging.addRequestHandler("echo", (request) => request);
   * const seen: string[] = [];
   * const stop = session.inspect(({ direction, kind, path }) => seen.push(`${direction} ${kind} ${path ?? ""}`));
   * await session.messaging.sendRequestToPath("echo", "hello");
   * stop();
   * console.log(seen[0]); // -> out request echo
   */
  inspect(listener: (message: InspectedMessage) => void, options?: { values?: boolean }): () => void;
  /**
   * Ends the session. Requests that wait for an answer reject with `SESSION_CLOSED`. Can be called again, and in
   * every state; without a connection the broker is not told, and keeps the session until its time is over.
   *
   * @returns settles when the session is over, and never rejects
   * @example
   * await session.close();
   * console.log(session.state); // -> closed
   */
  close(): Promise<void>;
  /**
   * The same as {@link close}, for `await using`.
   *
   * @example
   * await using session = await connect("ws://localhost:8080");
   * console.log(session.state); // -> connected
   */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * `connecting` until the broker has accepted, then `connected`; `recovering` while a lost connection is being replaced;
 * `closed` for good.
 *
 * @example
 * const isOnline = (state: SessionState) => state === "connected";
 * console.log(isOnline(session.state)); // -> true
 */
export type SessionState = "connecting" | "connected" | "recovering" | "closed";

/**
 * The end of a session.
 *
 * @example
 * session.on("close", ({ code, reason, byClient }: CloseInfo) => {
 *   console.log(byClient, code, reason); // -> true CLOSED_BY_CLIENT …
 * });
 * await session.close();
 */
export interface CloseInfo {
  /** For programs, one of {@link CloseCode}. */
  code: CloseCode | (string & {});
  /** For people. */
  reason: string;
  /** Whether it was {@link Session.close}. */
  byClient: boolean;
}

/**
 * Why a session is over: `CLOSED_BY_CLIENT`, `CLOSED_BY_SERVER`; `CONNECTION_TIMEOUT` if no connection came about within
 * `reconnect.timeout`; a code of {@link ConnectError} if the broker did not let the session in again; `INTERNAL` if the
 * client failed. Without reconnection also `CONNECTION_ERROR`, `TRANSPORT_ERROR` (the broker broke the protocol) and
 * `IDLE_CONNECTION` (nothing came from the broker for two ping periods).
 *
 * @example
 * const isFinal = (code: CloseCode) => code === "CLOSED_BY_CLIENT" || code === "CLOSED_BY_SERVER";
 * session.on("close", ({ code }) => console.log(isFinal(code as CloseCode))); // -> true
 * await session.close();
 */
export type CloseCode =
  | "CLOSED_BY_CLIENT"
  | "CLOSED_BY_SERVER"
  | "CONNECTION_TIMEOUT"
  | "CONNECTION_ERROR"
  | "IDLE_CONNECTION"
  | "TRANSPORT_ERROR"
  | "ACCESS_DENIED"
  | "LICENSE_EXCEEDED"
  | "PROTOCOL_VERSION_MISMATCH"
  | "HANDSHAKE_REJECTED"
  | "HANDSHAKE_ERROR"
  | "INTERNAL";

/**
 * What {@link Session.on} listens to.
 *
 * @example
 * session.on("statechange", ({ from, to }) => console.log(from, to)); // -> connected closed
 * session.on("disconnect", ({ reason }) => console.log(reason));
 * session.on("messageloss", ({ requests, handlers }) => console.log(requests, handlers));
 * session.on("reconnect", ({ lossless, newSession }) => console.log(lossless, newSession));
 * session.on("close", ({ code }) => console.log(code)); // -> CLOSED_BY_CLIENT
 * await session.close();
 */
export interface SessionEvents {
  /** The state of the session changed. Comes before the event that tells why. */
  statechange: {
    /** What it was doing. */
    from: SessionState;
    /** What it is doing now. */
    to: SessionState;
  };
  /** The connection was lost. Comes once, however many attempts to replace it follow. */
  disconnect: {
    /** For people. */
    reason: string;
  };
  /** There is a connection again. */
  reconnect: {
    /** Whether nothing was lost: requests under way get their answers. */
    lossless: boolean;
    /** Whether the broker had forgotten the session and has opened a new one; its `id` is another. */
    newSession: boolean;
  };
  /** Messages were lost with the connection. Comes before `reconnect`. */
  messageloss: {
    /** How many requests were rejected with `CONNECTION_LOST`. */
    requests: number;
    /** How many request handlers are being registered again. */
    handlers: number;
  };
  /** The session is over. */
  close: CloseInfo;
}

/**
 * A message that {@link Session.inspect} shows.
 *
 * @example
 * const lines: string[] = [];
 * const show = ({ direction, kind, service, conversation, path, type, size, time, value }: InspectedMessage) =>
 *   lines.push(`${time} ${direction} ${kind} ${service} ${conversation} ${path} ${type} ${size} ${value}`);
 * const stop = session.inspect(show, { values: true });
 * await session.messaging.sendRequestToPath("nobody/here", "hello").catch((error) => console.log(error.code));
 * // -> UNHANDLED_MESSAGE
 * stop();
 * console.log(lines[0]); // -> … out request MESSAGING_SEND … nobody/here string … hello
 */
export interface InspectedMessage {
  /** Whether it came from the broker or went there. */
  readonly direction: "in" | "out";
  /** Its part in an exchange: each `request` is followed by one `response` or `error`, unless the connection breaks. */
  readonly kind: "request" | "response" | "error";
  /** Name of the service, e.g. `MESSAGING_SEND`; of a response, that of its request if that was seen, else empty. */
  readonly service: string;
  /** Number of the exchange: a response has that of its request. Each side numbers those that it begins. */
  readonly conversation: number;
  /** The message path, if there is one; of a response, that of its request. */
  readonly path?: string;
  /** Name of the data type of the value in it, if there is one. */
  readonly type?: string;
  /** Of the whole message, in bytes. */
  readonly size: number;
  /** When it passed, in milliseconds of the clock of `performance.now()`. */
  readonly time: number;
  /** The value in it; only with `values: true`. */
  readonly value?: unknown;
}

/**
 * The messaging component of a session.
 *
 * @example
 * const { messaging } = session;
 * console.log(messaging.services.MESSAGING_SEND.id); // -> 85
 */
export interface Messaging<C extends Contract = AnyContract> {
  /** The services of the protocol. The same object as `session.services`. */
  readonly services: ServiceLocator;
  /**
   * For the compiler; not there at run time.
   *
   * @hidden
   */
  readonly [contract]?: { [P in keyof C]: { request: Side<C[P], "request">; response: Side<C[P], "response"> } };

  /**
   * Sends a request to one session that handles `path`.
   *
   * The broker chooses the handler registered for the most specific path that is `path` or a parent of it; among equals
   * any one. It has left when the call returns: what you change in `request` afterwards is not sent.
   *
   * With a {@link Contract} the path says what is sent and what comes back; without one, you can:
   * `sendRequestToPath<number>(...)`.
   *
   * @typeParam T without a contract the type of the response; with one the path, which need not be written
   * @param path e.g. `orders/eu`
   * @param request a string, number, bigint, bytes, or whatever JSON can say
   * @param options of this request
   * @returns the response
   * @throws {@link MessagingError}: `UNHANDLED_MESSAGE` if nobody handles the path, `REJECTED_REQUEST` if the handler
   *   declined, `CALLBACK_EXCEPTION` if it failed, `TIMED_OUT` if no answer came in time, `NOT_CONNECTED` while there
   *   is no connection, `CONNECTION_LOST` if messages were lost with it
   * @example
   * await session.messaging.addRequestHandler("prices", ({ item }) => item.length * 100);
   * const price = await session.messaging.sendRequestToPath<number>("prices/eu", { item: "tea" }, { timeout: 5000 });
   * console.log(price); // -> 300
   * @example
   * interface Shop {
   *   stock: { request: { item: string }; response: number };
   * }
   * const { messaging } = await connect<Shop>("ws://localhost:8080");
   * await messaging.addRequestHandler("stock", ({ item }) => item.length);
   * const left: number = await messaging.sendRequestToPath("stock", { item: "tea" });
   * console.log(left); // -> 3
   */
  sendRequestToPath<T extends Told<C> = Untold<C>>(
    path: PathTold<C, T>,
    request: RequestTold<C, T>,
    options?: RequestOptions,
  ): Promise<ResponseTold<C, T>>;

  /**
   * Sends a request to one session, for its stream at exactly `path`.
   *
   * @param path as the recipient gave it to {@link addStreamHandler}
   * @param sessionId of the recipient, which may be the sender itself
   * @param request as with {@link sendRequestToPath}
   * @param options of this request
   * @returns the response
   * @throws {@link MessagingError}: `NO_SUCH_SESSION` if there is none with this ID, `UNHANDLED_MESSAGE` if it has no
   *   stream at this path, and as with {@link sendRequestToPath}
   * @example
   * session.messaging.addStreamHandler("status", () => "idle", { addressed: true });
   * console.log(await session.messaging.sendRequestToSession("status", session.id, null)); // -> idle
   */
  sendRequestToSession<T extends Told<C> = Untold<C>>(
    path: PathTold<C, T>,
    sessionId: string,
    request: RequestTold<C, T>,
    options?: RequestOptions,
  ): Promise<ResponseTold<C, T>>;

  /**
   * Sends a request to every session that matches `filter` now, this one included, for their streams at exactly `path`.
   *
   * First comes the count, then exactly one response or error from each of those sessions, in the order of arrival:
   * to `onResponse`, or without it to the handler of {@link addFilterResponseHandler} for this filter. `timeout` bounds
   * the whole; what comes later is dropped, and nothing is called for it. ({@link gather} tells of that.)
   *
   * @param filter e.g. `$Principal is 'ops' and has room`
   * @param path as the recipients gave it to {@link addStreamHandler}
   * @param request as with {@link sendRequestToPath}
   * @param options of this request, and who takes the responses
   * @returns how many sessions match
   * @throws {@link InvalidFilterError} with the places if the filter does not parse; {@link MessagingError} as with
   *   {@link sendRequestToPath}
   * @example
   * session.messaging.addStreamHandler("status", () => "idle", { addressed: true });
   * const asked = await session.messaging.sendRequestToFilter("all", "status", null, {
   *   onResponse: ({ sessionId, value, error }) => console.log(sessionId, error ?? value), // -> … idle
   * });
   * console.log(asked); // -> 1
   */
  sendRequestToFilter<P extends { [P in PathOf<C>]: P }[PathOf<C>]>(
    filter: string,
    path: P,
    request: IfOpen<C, Value, RequestOf<C, P>>,
    options?: RequestOptions & { onResponse?: FilterResponseHandler<IfOpen<C, any, ResponseOf<C, P>>> },
  ): Promise<number>;

  /**
   * Sends a request as {@link sendRequestToFilter} does, at once, and gives the responses as something to iterate over.
   *
   * Without `atLeast` the iteration ends when every session has answered or failed; with it, after so many responses,
   * and throws `NOT_ENOUGH` when they can no longer be reached. It throws `TIMED_OUT` at the deadline, and whatever
   * else ended the request. Leaving the loop, or aborting the signal, releases everything.
   *
   * @param filter as with {@link sendRequestToFilter}
   * @param path as with {@link sendRequestToFilter}
   * @param request as with {@link sendRequestToPath}
   * @param options of this request, and how many responses are enough; default: all
   * @example
   * session.messaging.addStreamHandler("status", () => "idle", { addressed: true });
   * for await (const { sessionId, value, error } of session.messaging.gather("all", "status", null)) {
   *   console.log(sessionId === session.id, error ?? value); // -> true idle
   * }
   */
  gather<T extends Told<C> = Untold<C>>(
    filter: string,
    path: PathTold<C, T>,
    request: RequestTold<C, T>,
    options?: RequestOptions & { atLeast?: number },
  ): Gathering<ResponseTold<C, T>>;

  /**
   * Registers a function that answers requests for `path` and everything below it.
   *
   * What it returns is the response. It may be asynchronous. What it throws is the sender's error: a
   * {@link RejectedRequestError} becomes `REJECTED_REQUEST`, anything else `CALLBACK_EXCEPTION`; the handler stays
   * registered.
   *
   * @param path e.g. `orders`; one session registers a path once
   * @param handler a function, or an object with a function `handle`
   * @param options of this handler
   * @returns the registration, once the broker has accepted it
   * @throws {@link MessagingError}: `HANDLER_CONFLICT` if this session has a handler at that path already,
   *   `NOT_CONNECTED` while there is no connection, `INVALID_PATH`, `INVALID_ARGUMENT`, `ACCESS_DENIED`
   * @example
   * const registration = await session.messaging.addRequestHandler("prices", async ({ item }, { path }) => {
   *   return `${item} for ${path}`;
   * });
   * console.log(await session.messaging.sendRequestToPath("prices/eu", { item: "tea" })); // -> tea for prices/eu
   * await registration.close();
   */
  addRequestHandler<P extends { [P in PathOf<C>]: P | Above<P> }[PathOf<C>]>(
    path: P,
    handler: RequestHandler<RequestOf<C, Served<C, P>>, ResponseOf<C, Served<C, P>>>,
    options?: HandlerOptions,
  ): Promise<Registration>;

  /**
   * Sets a local function that answers requests for exactly `path`; the broker is not told.
   *
   * With `addressed: true` it answers those that are sent to this session by its ID or by a filter. Without, it answers
   * those that the broker forwards to this session because of a registered handler, in place of that handler: one slot
   * for each path, the later one answers, and closing it restores nothing.
   *
   * @param path exactly as senders will write it
   * @param handler a function, or an object with a function `handle`
   * @param options of this stream
   * @throws {@link MessagingError}: `INVALID_ARGUMENT`, or `SESSION_CLOSED`
   * @example
   * const stream = session.messaging.addStreamHandler("status", () => ({ idle: true }), { addressed: true });
   * console.log(await session.messaging.sendRequestToSession("status", session.id, null)); // -> { idle: true }
   * await stream.close();
   */
  addStreamHandler<P extends { [P in PathOf<C>]: P }[PathOf<C>]>(
    path: P,
    handler: RequestHandler<RequestOf<C, P>, ResponseOf<C, P>>,
    options?: StreamOptions,
  ): Registration;

  /**
   * Sets a local function that gets the responses to requests that are sent to exactly this filter text without an
   * `onResponse`; a later one replaces it.
   *
   * @param filter exactly as it will be sent
   * @param handler is called once for each response or error
   * @throws {@link MessagingError}: `INVALID_ARGUMENT`, or `SESSION_CLOSED`
   * @example
   * session.messaging.addStreamHandler("status", () => "idle", { addressed: true });
   * session.messaging.addFilterResponseHandler("all", ({ value, error }) => console.log(error ?? value)); // -> idle
   * await session.messaging.sendRequestToFilter("all", "status", null);
   */
  addFilterResponseHandler(filter: string, handler: FilterResponseHandler): FilterRegistration;
}

/**
 * Of one request. All of it can be left out.
 *
 * @example
 * const options: RequestOptions = {
 *   type: "int64",
 *   responseType: "string",
 *   timeout: 5000,
 *   signal: AbortSignal.timeout(10_000),
 *   whenDisconnected: "wait",
 * };
 * await session.messaging.addRequestHandler("type", (_, { requestType }) => requestType);
 * console.log(await session.messaging.sendRequestToPath("type", 5, options)); // -> int64
 */
export interface RequestOptions {
  /** Data type of the request. Default: that of a {@link DataValue}, else by the value. */
  type?: DataTypeLike;
  /**
   * Data type to convert the response to, where nothing is lost by it, else `INCOMPATIBLE_DATATYPE`. Default: that of
   * the request if it was named, else none.
   */
  responseType?: DataTypeLike;
  /**
   * Milliseconds from the call to the response, connected or not, then `TIMED_OUT`. The broker waits for handlers 60 s,
   * or as long as it is told, so more than that does not help. 0: no deadline but the broker's. Default:
   * {@link ConnectOptions.requestTimeout}.
   */
  timeout?: number;
  /**
   * Gives up waiting when it is aborted; the promise rejects with its reason. The handler is not told. Default: none.
   *
   * @example
   * await session.messaging.addRequestHandler("slow", () => new Promise(() => {}));
   * const slow = session.messaging.sendRequestToPath("slow", null, { signal: AbortSignal.timeout(20) });
   * await slow.catch((error) => console.log(error.name)); // -> TimeoutError
   */
  signal?: AbortSignal;
  /** While there is no connection: an error at once (`NOT_CONNECTED`), or wait within `timeout`. Default: `"fail"`. */
  whenDisconnected?: "fail" | "wait";
}

/**
 * Of a request handler. All of it can be left out.
 *
 * @example
 * const options: HandlerOptions = {
 *   sessionProperties: ["$Principal"],
 *   requestType: "json",
 *   responseType: "string",
 *   maxConcurrent: 4,
 *   timeout: 10_000,
 *   reregister: true,
 *   addressed: true,
 *   signal: new AbortController().signal,
 *   whenDisconnected: "wait",
 * };
 * const who: RequestHandler = (_, { sessionProperties }) => `"${sessionProperties.$Principal}"`;
 * await session.messaging.addRequestHandler("who", who, options);
 * console.log(await session.messaging.sendRequestToPath("who", null)); // -> ""
 */
export interface HandlerOptions {
  /**
   * Properties of the sender that come with each request; may hold {@link ALL_FIXED_PROPERTIES} and
   * {@link ALL_USER_PROPERTIES}. Default: none.
   */
  sessionProperties?: readonly string[];
  /**
   * Data type to convert requests to; those that cannot be are answered with `INCOMPATIBLE_DATATYPE`. Default: requests
   * come as they are.
   */
  requestType?: DataTypeLike;
  /** Data type of the answers. Default: that of the request if it can hold the answer, else by the value. */
  responseType?: DataTypeLike;
  /** Requests that it answers at the same time; further ones wait in order. Default: no limit. */
  maxConcurrent?: number;
  /**
   * Milliseconds that a request may take here, its time in the queue included; 0: no limit. Then its
   * {@link RequestContext.signal} is aborted, its place is free for the next one, and the sender is told
   * `REQUEST_TIME_OUT`. Default: 60 000, which is as long as the broker waits.
   */
  timeout?: number;
  /** Whether it is registered again by itself after message loss, or in a new session. Default: true. */
  reregister?: boolean;
  /**
   * Whether it also answers requests that are sent to this session by its ID or by a filter, at exactly this path.
   * Default: false.
   */
  addressed?: boolean;
  /** Closes the registration when it is aborted; before it is registered, the promise rejects with its reason. */
  signal?: AbortSignal;
  /**
   * While there is no connection: an error at once (`NOT_CONNECTED`), or register as soon as there is one. Default:
   * `"fail"`.
   */
  whenDisconnected?: "fail" | "wait";
}

/**
 * Of a stream. All of it can be left out.
 *
 * @example
 * const options: StreamOptions = { addressed: true, maxConcurrent: 1 };
 * session.messaging.addStreamHandler("status", () => "idle", options);
 * console.log(await session.messaging.sendRequestToSession("status", session.id, null)); // -> idle
 */
export interface StreamOptions
  extends Omit<HandlerOptions, "sessionProperties" | "reregister" | "whenDisconnected" | "addressed"> {
  /**
   * Whether it answers requests that are sent to this session by its ID or by a filter, in place of those that the
   * broker forwards because of a registered handler. Default: false.
   */
  addressed?: boolean;
}

/**
 * Answers requests: a function, or an object with a function `handle`, which may have `requestType` and `responseType`
 * as well; those of {@link HandlerOptions} win.
 *
 * @example
 * const length: RequestHandler<string, number> = (text) => text.length;
 * await session.messaging.addRequestHandler("length", length);
 * console.log(await session.messaging.sendRequestToPath("length", "four")); // -> 4
 */
export type RequestHandler<Req = any, Res = unknown> =
  | ((request: Req, context: RequestContext) => Res | Promise<Res>)
  | {
      /** Is called for each request; `args` has the request, and what functions get as their second argument. */
      handle(event: "request", args: RequestContext & { request: Req }): Res | Promise<Res>;
    };

/**
 * Data types of a {@link RequestHandler}.
 *
 * @example
 * const types: RequestHandlerOptions = { requestType: "int64", responseType: "string" };
 * await session.messaging.addRequestHandler("hex", new RequestHandler((n: bigint) => n.toString(16), types));
 * console.log(await session.messaging.sendRequestToPath("hex", 255, { responseType: "string" })); // -> ff
 */
export type RequestHandlerOptions = Pick<HandlerOptions, "requestType" | "responseType">;

/**
 * Makes request handlers that are objects.
 *
 * @example
 * const Handler: RequestHandlerConstructor = RequestHandler;
 * console.log({ handle: () => "yes" } instanceof Handler, {} instanceof Handler); // -> true false
 */
export interface RequestHandlerConstructor {
  /**
   * Makes a request handler of a function.
   *
   * @param callback is called with the request and what is known about it
   * @param options the data types that it takes and gives
   * @throws TypeError if `callback` is no function
   * @example
   * const shout = new RequestHandler((text: string) => text.toUpperCase(), { requestType: "string" });
   * await session.messaging.addRequestHandler("shout", shout);
   * console.log(await session.messaging.sendRequestToPath("shout", "tea")); // -> TEA
   */
  new (
    callback: (request: any, context: RequestContext) => unknown,
    options?: RequestHandlerOptions,
  ): RequestHandlerOptions & {
    /** Calls the function with `args.request` and `args`. */
    handle(event: "request" | undefined, args: RequestContext & { request: any }): unknown;
  };
  /**
   * Makes the instances of a class pass `instanceof RequestHandler`.
   *
   * @returns the class
   * @example
   * class Later {}
   * RequestHandler.register(Later);
   * console.log(new Later() instanceof RequestHandler); // -> true
   */
  register<T extends abstract new (...args: any[]) => object>(type: T): T;
  /**
   * Whatever has a function `handle` passes, and so do instances of registered classes.
   *
   * @example
   * console.log({ handle: () => "yes" } instanceof RequestHandler); // -> true
   */
  [Symbol.hasInstance](value: unknown): boolean;
}

/**
 * A request handler as an object.
 *
 * @example
 * const double = new RequestHandler((count) => count * 2n, { requestType: "int64", responseType: "int64" });
 * await session.messaging.addRequestHandler("double", double);
 * console.log(await session.messaging.sendRequestToPath("double", 21)); // -> 42n
 */
export const RequestHandler: RequestHandlerConstructor;

/**
 * What a request handler learns about a request besides its value.
 *
 * @example
 * const handler: RequestHandler = (_, context: RequestContext) => {
 *   const { path, addressed, senderSessionId, sessionProperties, requestType, signal } = context;
 *   const isOwn = senderSessionId === session.id;
 *   return [path, addressed, isOwn, sessionProperties.$Transport, requestType, signal.aborted];
 * };
 * await session.messaging.addRequestHandler("about", handler, { sessionProperties: ["$Transport"] });
 * console.log(await session.messaging.sendRequestToPath("about/this", "x", { responseType: "json" }));
 * // -> [ 'about/this', false, true, 'WEBSOCKET', 'string', false ]
 */
export interface RequestContext {
  /** As the sender wrote it; at or below the registered path. */
  readonly path: string;
  /** Whether the request was sent to this session, by its ID or by a filter. */
  readonly addressed: boolean;
  /** Who asks; not known of addressed requests. */
  readonly senderSessionId?: string;
  /** Of the sender, those that were asked for at registration. */
  readonly sessionProperties: Record<string, string>;
  /** Name of the request's data type on the wire. */
  readonly requestType: string;
  /**
   * Aborted when the answer can no longer be delivered, because this session has ended or has lost messages; nothing
   * tells of the sender.
   */
  readonly signal: AbortSignal;
}

/**
 * A registered request handler, or a stream.
 *
 * @example
 * const registration: Registration = await session.messaging.addRequestHandler("orders", () => "taken");
 * console.log(registration.path); // -> orders
 */
export interface Registration {
  /** As it was registered. */
  readonly path: string;
  /**
   * Takes the registration back; settles when no further requests will come. Those that have arrived are still
   * answered. Can be called again.
   *
   * @throws {@link MessagingError}: `NOT_CONNECTED` for a request handler while there is no connection
   * @example
   * const registration = await session.messaging.addRequestHandler("orders", () => "taken");
   * await registration.close();
   * await session.messaging.sendRequestToPath("orders", null).catch((error) => console.log(error.code));
   * // -> UNHANDLED_MESSAGE
   */
  close(): Promise<void>;
  /**
   * The same as {@link close}, for `await using`.
   *
   * @example
   * await using registration = await session.messaging.addRequestHandler("orders", () => "taken");
   * console.log(await session.messaging.sendRequestToPath(registration.path, null)); // -> taken
   */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * A local handler for the responses to a filter.
 *
 * @example
 * const registration: FilterRegistration = session.messaging.addFilterResponseHandler("all", () => {});
 * console.log(registration.filter); // -> all
 */
export interface FilterRegistration {
  /** As it was given. */
  readonly filter: string;
  /**
   * Takes the handler out, unless another one has replaced it.
   *
   * @example
   * const registration = session.messaging.addFilterResponseHandler("all", ({ value }) => console.log(value));
   * registration.close();
   */
  close(): void;
}

/**
 * Gets the responses to a request that was sent to a filter: a function, or an object with a function `handle`.
 *
 * @example
 * const handler: FilterResponseHandler = {
 *   handle: (event, { value, error }) => console.log(event, error?.code ?? value), // -> error UNHANDLED_MESSAGE
 * };
 * await session.messaging.sendRequestToFilter("all", "nothing/here", null, { onResponse: handler });
 */
export type FilterResponseHandler<Res = any> =
  | ((response: FilterResponse<Res>) => void)
  | {
      /** Is called for each response, and for each session that gave an error instead. */
      handle(event: "response" | "error", args: FilterResponse<Res>): void;
    };

/**
 * What came of a request at one of the sessions that it was sent to.
 *
 * @example
 * const show = ({ sessionId, filter, path, value, error, received, expected }: FilterResponse) =>
 *   console.log(sessionId === session.id, filter, path, value, error, `${received} of ${expected}`);
 * // -> true all status idle undefined 1 of 1
 * session.messaging.addStreamHandler("status", () => "idle", { addressed: true });
 * await session.messaging.sendRequestToFilter("all", "status", null, { onResponse: show });
 */
export interface FilterResponse<Res = any> {
  /** Whose response it is. */
  readonly sessionId: string;
  /** As it was sent. */
  readonly filter: string;
  /** As it was sent. */
  readonly path: string;
  /** The response, unless there is an error. */
  readonly value?: Res;
  /** Why there is no response. */
  readonly error?: MessagingError;
  /** How many responses and errors have come, this one included. */
  readonly received: number;
  /** How many will come. */
  readonly expected: number;
}

/**
 * The responses to a request that was sent to a filter, as they arrive; to be iterated over once.
 *
 * @example
 * session.messaging.addStreamHandler("load", () => 0.5, { addressed: true });
 * const gathering: Gathering<number> = session.messaging.gather<number>("all", "load", null);
 * console.log(await gathering.expected); // -> 1
 * for await (const { value } of gathering) console.log(value); // -> 0.5
 */
export interface Gathering<Res = unknown> extends AsyncIterable<Gathered<Res>> {
  /** How many sessions match. Need not be looked at, even if it rejects. */
  readonly expected: Promise<number>;
}

/**
 * What came of a gathered request at one of the sessions.
 *
 * @example
 * const show = ({ sessionId, value, error }: Gathered) => console.log(sessionId === session.id, error?.code ?? value);
 * // -> true UNHANDLED_MESSAGE
 * for await (const one of session.messaging.gather("all", "nothing/here", null)) show(one);
 */
export interface Gathered<Res = unknown> {
  /** Whose response it is. */
  sessionId: string;
  /** The response, unless there is an error. */
  value?: Res;
  /** Why there is no response. */
  error?: MessagingError;
}

/**
 * A numbered kind of exchange between a session and the broker.
 *
 * @example
 * for (const { id, name } of session.services) if (id < 10) console.log(id, name); // -> 5 CHANGE_PRINCIPAL
 */
export interface Service {
  /** Its number. */
  readonly id: number;
  /** Its name, e.g. `MESSAGING_SEND`. */
  readonly name: string;
  /**
   * Sends a request of this service.
   *
   * @param body in wire form; the broker ends the session of whoever sends a malformed one
   * @returns the body of the response
   * @throws {@link MessagingError}: `UNSUPPORTED` if the broker does not offer it, and as {@link Session.ping}
   * @example
   * const body = await session.services.USER_PING.invoke(new Uint8Array());
   * console.log(body.length); // -> 0
   */
  invoke(body: Uint8Array): Promise<Uint8Array>;
}

/**
 * Services by name (`services.MESSAGING_SEND`), by name or number (`get`), and all of them in turn.
 *
 * @example
 * const services: ServiceLocator = session.services;
 * console.log(services.get(85)?.name, services.MESSAGING_SEND.id, services.get("NO_SUCH_THING"));
 * // -> MESSAGING_SEND 85 undefined
 */
export type ServiceLocator = Iterable<Service> & {
  /** The service with this name or number; undefined if it is not known. */
  get(nameOrId: string | number): Service | undefined;
} & { readonly [name: string]: any };

/**
 * What can be sent. Functions and symbols cannot.
 *
 * @example
 * const values: Value[] = ["text", 1.5, 2n ** 60n, true, null, { list: [1, "two"] }, new Uint8Array(3)];
 * await session.messaging.addRequestHandler("echo", (request) => request);
 * for (const value of values) await session.messaging.sendRequestToPath("echo", value);
 */
export type Value =
  | string
  | number
  | bigint
  | boolean
  | null
  | undefined
  | { [key: string]: unknown }
  | (object & NoFunction);

/**
 * Types of requests and responses by path, or by template of paths. With {@link ConnectOptions.contract}, schemas.
 *
 * @example
 * interface Shop {
 *   "orders/eu": { request: string[]; response: number };
 *   [path: `stock/${string}`]: { request: string; response: number };
 * }
 * const { messaging } = await connect<Shop>("ws://localhost:8080");
 * await messaging.addRequestHandler("orders/eu", (items) => items.length);
 * console.log(await messaging.sendRequestToPath("orders/eu", ["tea"])); // -> 1
 */
export type Contract = object;

/**
 * No contract: any path, any value.
 *
 * @example
 * const { messaging }: Session<AnyContract> = session;
 */
export interface AnyContract {
  [path: string]: {
    /** What is sent. */
    request: any;
    /** What comes back. */
    response: unknown;
  };
}

/**
 * The paths of a contract.
 *
 * @example
 * interface Shop {
 *   orders: { request: string[]; response: number };
 * }
 * const path: PathOf<Shop> = "orders";
 */
export type PathOf<C> = keyof C & string;

/**
 * What a contract lets be sent to a path.
 *
 * @example
 * interface Shop {
 *   orders: { request: string[]; response: number };
 * }
 * const order: RequestOf<Shop, "orders"> = ["tea"];
 */
export type RequestOf<C, P extends PathOf<C>> = Side<C[P], "request">;

/**
 * What a contract lets be answered at a path.
 *
 * @example
 * interface Shop {
 *   orders: { request: string[]; response: number };
 * }
 * const receipt: ResponseOf<Shop, "orders"> = 17;
 */
export type ResponseOf<C, P extends PathOf<C>> = Side<C[P], "response">;

/**
 * The paths of a contract that a handler at `P` serves: `P` itself, else those below it.
 *
 * @example
 * interface Shop {
 *   "orders/eu": { request: string[]; response: number };
 *   "orders/us": { request: string[]; response: number };
 * }
 * const served: Served<Shop, "orders">[] = ["orders/eu", "orders/us"];
 */
export type Served<C, P extends string> = P extends PathOf<C> ? P : Extract<PathOf<C>, `${P}/${string}`>;

/** Functions have this member, and nothing else has. */
interface NoFunction {
  readonly [Symbol.hasInstance]?: never;
}

/** What the type parameter of a send says: with a contract the path, without one whatever comes back. */
type Told<C> = IfOpen<C, any, { [P in PathOf<C>]: P }[PathOf<C>]>;
type Untold<C> = IfOpen<C, unknown, { [P in PathOf<C>]: P }[PathOf<C>]>;
type PathTold<C, T extends Told<C>> = IfOpen<C, string, T>;
type RequestTold<C, T extends Told<C>> = IfOpen<C, Value, Side<C[T], "request">>;
type ResponseTold<C, T extends Told<C>> = IfOpen<C, T, Side<C[T], "response">>;

/**
 * `Yes` if any path will do. Compares mapped types, since that has the compiler compare a `Session<Shop>` and a `Session`
 * member by member; else it would look for an index signature in `Shop`, which no interface has.
 */
type IfOpen<C, Yes, No> = Named<AnyContract> extends Named<C> ? Yes : No;
type Named<C> = { [P in keyof C]: P };
declare const contract: unique symbol;

/** What stands above a path: `a` and `a/b` above `a/b/c`. */
type Above<P extends string> = P extends `${infer First}/${infer Rest}` ? First | `${First}/${Above<Rest>}` : never;

type Side<T, K extends string> = T extends { [k in K]: infer S }
  ? S extends StandardSchemaV1<any, infer O>
    ? O
    : S
  : unknown;

/**
 * What is used of a Standard Schema (standardschema.dev), which many validation libraries make.
 *
 * @example
 * const positive: StandardSchemaV1<number> = {
 *   "~standard": {
 *     version: 1,
 *     vendor: "example",
 *     validate: (value) => (Number(value) > 0 ? { value: Number(value) } : { issues: [{ message: "must be more" }] }),
 *   },
 * };
 * const contract = { prices: { request: positive, response: positive } };
 * const { messaging } = await connect("ws://localhost:8080", { contract });
 * await messaging.sendRequestToPath("prices", -1).catch((error) => console.log(error.code, error.outcome));
 * // -> INVALID_DATA not-sent
 */
export interface StandardSchemaV1<Input = unknown, Output = Input> {
  /** By this name the libraries agree on it. */
  readonly "~standard": {
    /** Of the agreement. */
    readonly version: 1;
    /** Name of the library. */
    readonly vendor: string;
    /** Gives the value, or what is wrong with it. */
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    /** For the compiler; not there at run time. */
    readonly types?: SchemaTypes<Input, Output> | undefined;
  };
}

type SchemaTypes<Input, Output> = { readonly input: Input; readonly output: Output };
type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | {
      readonly issues: readonly {
        readonly message: string;
        readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
      }[];
    };

/**
 * A value of a data type that was named: made by calling one of {@link datatypes}. It can be sent, answered, and stand
 * within a json value.
 *
 * @example
 * const five: DataValue<bigint | null> = datatypes.INT64(5);
 * console.log(five.typeName, five.typeCode, five.value); // -> int64 18 5n
 * console.log(five instanceof DataValue); // -> true
 */
export class DataValue<T = unknown> {
  private constructor();
  /** Name of the data type on the wire, e.g. `int64`. */
  readonly typeName: string;
  /** Number of the data type. */
  readonly typeCode: number;
  /** The value as its recipient will read it; objects and arrays are new at each access. */
  readonly value: T;
  /**
   * The value in wire form.
   *
   * @example
   * console.log(datatypes.STRING("hi").toBytes()); // -> Uint8Array(3) [ 98, 104, 105 ]
   */
  toBytes(): Uint8Array<ArrayBuffer>;
}

/**
 * A data type: call it to make a value of it.
 *
 * @example
 * const type: DataType<bigint | number | null | undefined, bigint | null> = datatypes.INT64;
 * console.log(type.typeName, type.typeCode); // -> int64 18
 */
export interface DataType<In, Out = In> {
  /**
   * Makes a value of this type.
   *
   * @throws TypeError or RangeError if the type cannot hold the value
   * @example
   * console.log(datatypes.INT64(5).value); // -> 5n
   */
  (value: In): DataValue<Out>;
  /** Name on the wire. */
  readonly typeName: string;
  /** Number. */
  readonly typeCode: number;
  /**
   * Reads a value in wire form.
   *
   * @throws {@link MessagingError} with code `INVALID_DATA` if the bytes are no such value
   * @example
   * const bytes = datatypes.STRING("hi").toBytes();
   * console.log(datatypes.STRING.fromBytes(bytes)); // -> hi
   */
  fromBytes(bytes: Uint8Array): Out;
}

/**
 * A data type, its name in any case, or its number.
 *
 * @example
 * const same: DataTypeLike[] = [datatypes.INT64, "int64", "INT64", "Int64", 18];
 */
export type DataTypeLike =
  | Pick<DataType<never, unknown>, "typeName" | "typeCode" | "fromBytes">
  | DataTypeName
  | (AnyCase<DataTypeName> & NoFunction) // the second part keeps the hundreds of them out of completions
  | number;

/**
 * The names of the data types. `record_v2` and `recordv2` are the same.
 *
 * @example
 * const type: DataTypeName = "double";
 */
export type DataTypeName = "json" | "string" | "int64" | "double" | "binary" | "record_v2" | "recordv2";

type AnyCase<Name extends string> = Name extends `${infer Letter}${infer Rest}`
  ? `${Uppercase<Letter> | Letter}${AnyCase<Rest>}`
  : "";

/**
 * The data types.
 *
 * @example
 * const values = [
 *   datatypes.JSON({ list: [1, "two"] }),
 *   datatypes.STRING("text"),
 *   datatypes.INT64(2n ** 60n),
 *   datatypes.DOUBLE(1.5),
 *   datatypes.BINARY(new Uint8Array(3)),
 *   datatypes.RECORD_V2([["a", "b"], ["c"]]),
 * ];
 * console.log(values.map(({ typeName }) => typeName).join()); // -> json,string,int64,double,binary,record_v2
 */
export const datatypes: {
  /** Whatever JSON can say, and bytes, bigints and every float. */
  readonly JSON: DataType<Value, any>;
  /** Text, or null. */
  readonly STRING: DataType<string | null | undefined, string | null>;
  /** A signed 64-bit integer, or null. Arrives as bigint. */
  readonly INT64: DataType<bigint | number | null | undefined, bigint | null>;
  /** A 64-bit float, or null. */
  readonly DOUBLE: DataType<number | bigint | null | undefined, number | null>;
  /** Bytes. */
  readonly BINARY: DataType<ArrayBufferLike | ArrayBufferView, Uint8Array>;
  /** Records of text fields. */
  readonly RECORD_V2: DataType<readonly (readonly string[])[], string[][]>;
};

/**
 * Whether the request may have been acted on: `not-sent`: it never left; `refused`: no handler ran; `failed`: a handler
 * ran and failed, or its answer is unusable; `unknown`: a handler may have run.
 *
 * @example
 * const canBeRepeated = (outcome: Outcome) => outcome === "not-sent" || outcome === "refused";
 * await session.messaging.sendRequestToPath("nobody/here", null).catch((error) => {
 *   if (error instanceof MessagingError) console.log(canBeRepeated(error.outcome)); // -> true
 * });
 */
export type Outcome = "not-sent" | "refused" | "failed" | "unknown";

/**
 * The codes of a {@link MessagingError}: the name of the error reason that the other side gave, `REASON_` and its number
 * for one without a name, or one of ours. The page about errors has the cause and the cure of each.
 *
 * An error's `code` may be any string, since other versions may have further ones. A switch over this type has the
 * compiler look for mistakes.
 *
 * @example
 * const mayTryAgain = (code: MessagingErrorCode) => {
 *   switch (code) {
 *     case "NOT_CONNECTED":
 *     case "CLUSTER_ROUTING":
 *       return true;
 *     default:
 *       return false; // a case "TIMEOUT" would be an error of types
 *   }
 * };
 * await session.messaging.sendRequestToPath("nobody/here", null).catch(({ code }) => console.log(mayTryAgain(code)));
 * // -> false
 */
export type MessagingErrorCode =
  | "TIMED_OUT"
  | "NOT_CONNECTED"
  | "CONNECTION_LOST"
  | "SESSION_CLOSED"
  | "INVALID_ARGUMENT"
  | "INVALID_DATA"
  | "INVALID_FILTER"
  | "INVALID_PATH"
  | "MESSAGE_TOO_LARGE"
  | "INCOMPATIBLE_DATATYPE"
  | "NOT_ENOUGH"
  | "UNHANDLED_MESSAGE"
  | "REJECTED_REQUEST"
  | "CALLBACK_EXCEPTION"
  | "REQUEST_TIME_OUT"
  | "NO_SUCH_SESSION"
  | "HANDLER_CONFLICT"
  | "ACCESS_DENIED"
  | "UNSUPPORTED"
  | "CLUSTER_ROUTING"
  | "CLUSTER_REPARTITION"
  | "COMMUNICATION_FAILURE"
  | "INCOMPATIBLE_STATE"
  | "TOPIC_TREE_REGISTRATION_CONFLICT"
  | "INTERNAL"
  | `REASON_${number}`;

/**
 * What promises of {@link Messaging} and {@link Session} reject with.
 *
 * @example
 * try {
 *   await session.messaging.sendRequestToPath("nobody/here", null);
 * } catch (error) {
 *   if (!(error instanceof MessagingError)) throw error;
 *   console.log(error.code, error.reason, error.outcome); // -> UNHANDLED_MESSAGE 109 refused
 *   console.log(error.cause, error.details); // -> undefined undefined
 * }
 */
export class MessagingError extends Error {
  protected constructor();
  /** For programs, one of {@link MessagingErrorCode}; `message` is for people. */
  readonly code: MessagingErrorCode | (string & {});
  /** The number of the error reason, if the other side gave one. */
  readonly reason?: number;
  /** Whether the request may have been acted on. */
  readonly outcome: Outcome;
  /** What went wrong in your own code, if it was that: what a schema, a getter or a `credentials` function threw. */
  readonly cause?: unknown;
  /** What the handler's error said beside its message, if the other side could send it. */
  readonly details?: unknown;
}

/**
 * A session filter that does not parse. Its code is `INVALID_FILTER`, and nobody was asked.
 *
 * @example
 * try {
 *   await session.messaging.sendRequestToFilter("team is blue", "status", null);
 * } catch (error) {
 *   if (!(error instanceof InvalidFilterError)) throw error;
 *   console.log(error.code, error.errors[0]); // -> INVALID_FILTER { message: 'a quoted value expected, not `blue`', line: 1, column: 8 }
 * }
 */
export class InvalidFilterError extends MessagingError {
  private constructor();
  /** Always the same. */
  readonly code: "INVALID_FILTER";
  /** What is wrong where. */
  readonly errors: readonly {
    /** For people. */
    message: string;
    /** From 1. */
    line: number;
    /** From 0. */
    column: number;
  }[];
}

/**
 * Thrown by a request handler that declines: the sender gets code `REJECTED_REQUEST` with this message.
 *
 * @example
 * await session.messaging.addRequestHandler("orders", ({ items }) => {
 *   if (!items) throw new RejectedRequestError("an order needs items");
 * });
 * await session.messaging.sendRequestToPath("orders", {}).catch((error) => console.log(error.code, error.message));
 * // -> REJECTED_REQUEST an order needs items
 */
export class RejectedRequestError extends Error {
  /**
   * Makes one.
   *
   * @param message what the sender is told, at most 1024 characters of it
   * @param options more about it: `details`, a json value for the sender's error, and `cause`, which stays here
   * @example
   * await session.messaging.addRequestHandler("closed", async () => {
   *   throw new RejectedRequestError("we are closed today", { details: { opens: "Monday" } });
   * });
   */
  constructor(message: string, options?: { details?: Value; cause?: unknown });
  /**
   * More for the sender than the message.
   *
   * @example
   * console.log(new RejectedRequestError("sold out", { details: { left: 0 } }).details); // -> { left: 0 }
   */
  readonly details?: unknown;
  /**
   * What made the handler decline; the sender does not get it.
   *
   * @example
   * const rejected = new RejectedRequestError("no such order", { cause: new RangeError("17") });
   * console.log(rejected.cause instanceof RangeError); // -> true
   */
  readonly cause?: unknown;
}

/**
 * The codes of a {@link ConnectError}.
 *
 * @example
 * const needsLogin = (code: ConnectErrorCode) => code === "ACCESS_DENIED";
 * await connect("ws://localhost:8080", { principal: "eve" }).catch(({ code }) => console.log(needsLogin(code))); // -> true
 */
export type ConnectErrorCode =
  | "CONNECTION_ERROR"
  | "CONNECTION_TIMEOUT"
  | "TRANSPORT_ERROR"
  | "SERVER_INITIALISING"
  | "WASM_LOAD_FAILED"
  | "ACCESS_DENIED"
  | "INVALID_URL"
  | "INVALID_ARGUMENT"
  | "PROTOCOL_VERSION_MISMATCH"
  | "LICENSE_EXCEEDED"
  | "HANDSHAKE_REJECTED"
  | "HANDSHAKE_ERROR"
  | "INTERNAL";

/**
 * A session could not be opened.
 *
 * @example
 * try {
 *   await connect("ws://localhost:8080", { principal: "control", credentials: "wrong" });
 * } catch (error) {
 *   if (!(error instanceof ConnectError)) throw error;
 *   console.log(error.code, error.retryable, error.cause); // -> ACCESS_DENIED false undefined
 * }
 */
export class ConnectError extends Error {
  private constructor();
  /** For programs, one of {@link ConnectErrorCode}; `message` is for people. */
  readonly code: ConnectErrorCode | (string & {});
  /** Whether the same attempt can succeed later. */
  readonly retryable: boolean;
  /** What made it fail, if that is known: what the platform, the `credentials` function or an option threw. */
  readonly cause?: unknown;
}

/**
 * Text as it has to stand between the quotes of a string in a session filter.
 *
 * @example
 * const room = "Conan's";
 * console.log(`room is '${escapeFilter(room)}'`); // -> room is 'Conan\'s'
 */
export function escapeFilter(text: string): string;

/**
 * In a list of session properties: all fixed ones.
 *
 * @example
 * const { $Transport } = await session.getProperties([ALL_FIXED_PROPERTIES]);
 * console.log($Transport); // -> WEBSOCKET
 */
export const ALL_FIXED_PROPERTIES: string;

/**
 * In a list of session properties: all user-defined ones.
 *
 * @example
 * const session = await connect("ws://localhost:8080", { properties: { team: "blue" } });
 * console.log(await session.getProperties([ALL_USER_PROPERTIES])); // -> { team: 'blue' }
 */
export const ALL_USER_PROPERTIES: string;

/**
 * The principal of a session that did not say who it is.
 *
 * @example
 * console.log(session.principal === ANONYMOUS); // -> true
 */
export const ANONYMOUS: "";

// biome-ignore lint/complexity/noUselessEmptyExport: without it, a file of declarations exports the others as well
export {};

declare global {
  namespace WebAssembly {
    // Merged with the platform's; the types of Node.js have none.
    interface Module {}
  }
}
