/// <reference lib="esnext.disposable" />
// biome-ignore-all lint/suspicious/noExplicitAny: without a contract nothing is known about a value

/**
 * Request-response messaging between browser tabs, workers and programs, over one WebSocket each.
 *
 * Start with {@link connect}, which opens a {@link Session}. Its {@link Messaging} component sends requests and answers
 * them. All examples in this reference can be run as they are; those without an `import` assume an open `session`.
 *
 * @example
 * import { connect } from "antiphon";
 *
 * const session = await connect("ws://localhost:8080/antiphon");
 * await session.messaging.addRequestHandler("greetings", (name) => `Hello, ${name}!`);
 * console.log(await session.messaging.sendRequestToPath("greetings", "Ada")); // -> Hello, Ada!
 *
 * @module antiphon
 */

/**
 * Connects to a broker and opens a session.
 *
 * At the path `/antiphon` of our broker, credentials and properties go in the first message. At any other path they are in
 * the address, as official servers want it, where proxies and consoles may show them; without a path it is `/diffusion`.
 * `http://` and `https://` mean `ws://` and `wss://`. The first call loads the WebAssembly. Node.js before version 22 has
 * no WebSocket: pass one as {@link ConnectOptions.webSocket}.
 *
 * @param url address of the broker, without user name and password, which are options
 * @param options how to connect; default: anonymous, with reconnection
 * @returns the session, once the broker has accepted it
 * @throws {@link ConnectError} if no session could be opened, or the signal's reason if it was aborted
 * @example
 * const session = await connect("wss://example.com/antiphon", { principal: "control", credentials: "password" });
 * console.log(session.state); // -> connected
 */
export function connect<C extends Contract = AnyContract>(
  url: string | URL,
  options?: ConnectOptions<C>,
): Promise<Session<C>>;

/**
 * Loads the WebAssembly ahead of the first {@link connect}, or from an address of your choice. Calling it is optional;
 * once the WebAssembly is loaded, further calls do nothing.
 *
 * @param source where the `.wasm` file is, or its content; default: the file beside this module, or the copy embedded
 *   in it
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
 * Options of {@link connect}. All are optional.
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
 * const session = await connect("ws://localhost:8080/antiphon", options);
 * console.log(session.principal); // -> control
 */
export interface ConnectOptions<C extends Contract = AnyContract> {
  /** The name to log in under. Default: anonymous. */
  principal?: string;
  /**
   * A password or a token, or bytes for a custom authenticator. A function is called before every attempt to connect, so that
   * it can return a fresh token; if it fails, so does the attempt (`CONNECTION_ERROR`). While the session is open it is called
   * again before the token expires, and what it returns takes its place. Default: none.
   */
  credentials?: Credentials | (() => Credentials | undefined | Promise<Credentials | undefined>);
  /**
   * Session properties to propose; the broker decides which ones it accepts. Keys must not contain blanks, quotes or
   * parentheses. Default: only `$Environment`, which says where the client runs.
   */
  properties?: Record<string, string>;
  /**
   * Time limit for connecting, in milliseconds; when it is over, {@link connect} rejects with `CONNECTION_TIMEOUT`.
   * Default: 10 000.
   */
  connectTimeout?: number;
  /**
   * Time limit in milliseconds for requests without a {@link RequestOptions.timeout} of their own, for registrations,
   * pings and everything else that is asked of the broker. Default: 30 000.
   */
  requestTimeout?: number;
  /**
   * How to reconnect after the connection is lost; `false`: do not, the session ends. Default: the defaults of
   * {@link ReconnectOptions}.
   */
  reconnect?: false | ReconnectOptions;
  /**
   * The largest message to accept from the broker, in bytes, at least 1024. A larger one fails the request that it
   * belongs to (`MESSAGE_TOO_LARGE`) and nothing else. Default: 32 MiB + 256 KiB (the value, and what travels with it).
   */
  maxMessageSize?: number;
  /**
   * Whether to offer message batching to the broker: messages that are sent at the same time then travel in one WebSocket
   * message, which makes many small ones several times as fast. Without it, or with a broker that does not know it, each
   * travels alone. Default: true.
   *
   * @example
   * const session = await connect("ws://localhost:8080/antiphon", { batching: false });
   * console.log(session.supports("batching")); // -> false
   */
  batching?: boolean;
  /** Aborts connecting; {@link connect} then rejects with the signal's reason. Default: none. */
  signal?: AbortSignal;
  /** The WebSocket constructor to use, for example that of the package `ws`. Default: the platform's. */
  webSocket?: {
    /** Opens a connection. Treat the URL as a secret: its query contains the credentials. */
    new (url: string): WebSocketLike;
  };
  /** Version of the wire protocol to ask for, 22 to 29. Default: 25. */
  protocolVersion?: number;
  /**
   * Standard Schemas by exact path. Both sides validate requests and responses against them; validation never changes a
   * value. The schema of a request must be synchronous, since requests are sent during the call. If you only want
   * types, leave this out and write `connect<Shop>(url)`. Default: no validation.
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
   * const { messaging } = await connect("ws://localhost:8080/antiphon", { contract });
   * await messaging.addRequestHandler("greetings", (name) => `Hello, ${name}!`);
   * console.log(await messaging.sendRequestToPath("greetings", "Ada")); // -> Hello, Ada!
   */
  contract?: C;
  /**
   * How much goes to the console; never secrets or payloads. `"error"`: what your handlers throw; `"warn"`: handlers
   * that take too long or are lost; `"info"`: sessions opened, lost, found again and closed; `"debug"`: each state in
   * between; `"trace"`: each message, without its value, as {@link Session.inspect} shows it. Default: `"warn"`.
   */
  log?: "off" | "error" | "warn" | "info" | "debug" | "trace";
}

/**
 * How to reconnect after the connection is lost.
 *
 * @example
 * const reconnect: ReconnectOptions = { timeout: 300_000, delay: (attempt) => Math.min(attempt * 1000, 10_000) };
 * const session = await connect("ws://localhost:8080/antiphon", { reconnect });
 */
export interface ReconnectOptions {
  /**
   * How long the client tries to reconnect and asks the broker to keep the session, in milliseconds; then the session
   * is closed with `CONNECTION_TIMEOUT`. The broker may allow less. Default: 60 000.
   */
  timeout?: number;
  /**
   * Returns the delay before each attempt, in milliseconds; attempts are counted from 1. Default: exponential back-off
   * with full jitter, from 100 ms up to 5 s.
   */
  delay?: (attempt: number) => number;
}

/**
 * A password, or bytes for a custom authenticator.
 *
 * @example
 * const credentials: Credentials = new TextEncoder().encode("token of an authenticator");
 */
export type Credentials = string | Uint8Array;

/**
 * The part of the WebSocket interface that the client uses. The platform's WebSocket fits, so does the one of the
 * package `ws`, and so can one of your own.
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
 * const session = await connect("ws://localhost:8080/antiphon", { webSocket: SlowSocket });
 * console.log((await session.ping()) > 50); // -> true
 * await session.close();
 */
export interface WebSocketLike {
  /** The client sets it to `"arraybuffer"`; messages must arrive as ArrayBuffers. */
  binaryType: string;
  /** Set by the client; called when the connection is open. */
  onopen: ((event: any) => unknown) | null;
  /** Set by the client; called with `{ data }` for each message. */
  onmessage: ((event: any) => unknown) | null;
  /** Set by the client; called with `{ code, reason }` when the connection is closed. */
  onclose: ((event: any) => unknown) | null;
  /**
   * Set by the client; called with an event when the connection failed, which may say why: `{ error, message }`. Whether
   * a close follows does not matter.
   */
  onerror: ((event: any) => unknown) | null;
  /**
   * Sends a binary message. The socket may keep the bytes; the client does not use them again.
   *
   * @example
   * class CountingSocket extends WebSocket {
   *   static bytes = 0;
   *   override send(data: Uint8Array<ArrayBuffer>) {
   *     CountingSocket.bytes += data.byteLength;
   *     super.send(data);
   *   }
   * }
   * const session = await connect("ws://localhost:8080/antiphon", { webSocket: CountingSocket });
   * await session.ping();
   * console.log(CountingSocket.bytes > 0); // -> true
   */
  send(data: Uint8Array<ArrayBuffer>): void;
  /**
   * Closes the connection, or gives up opening it.
   *
   * @example
   * let socket: WebSocketLike | undefined;
   * class BreakableSocket extends WebSocket {
   *   constructor(url: string) {
   *     super(url);
   *     socket = this;
   *   }
   * }
   * const session = await connect("ws://localhost:8080/antiphon", { webSocket: BreakableSocket });
   * session.on("reconnect", ({ lossless }) => console.log(lossless)); // -> true
   * socket?.close(); // as if the network had failed
   */
  close(): void;
}

/**
 * A session with a broker. It survives lost connections: the client reconnects automatically. It ends when
 * {@link close} is called, when the page is left, when the broker ends it, or when reconnecting takes too long.
 *
 * @example
 * const session = await connect("ws://localhost:8080/antiphon", { principal: "control", credentials: "password" });
 * console.log(session.state, session.principal, session.id); // -> connected control …
 * console.log(session.services === session.messaging.services); // -> true
 * session.closed.then(({ code }) => console.log(code)); // -> CLOSED_BY_CLIENT
 * await session.close();
 */
export interface Session<C extends Contract = AnyContract> {
  /**
   * The session's ID, e.g. `c11fef067d9debd4-0000000100000000`. Changes only if the broker had to open a new session.
   */
  readonly id: string;
  /**
   * The name that was given to {@link connect} or {@link Session.changePrincipal}; empty for anonymous. Where a token alone
   * says who it is, this is empty as well, and `getProperties(["$Principal"])` tells.
   */
  readonly principal: string;
  /** Whether the session is connected. */
  readonly state: SessionState;
  /** Sends requests and answers them. */
  readonly messaging: Messaging<C>;
  /** The protocol's services, for what this package has no method for. The same object as `messaging.services`. */
  readonly services: ServiceLocator;
  /** Resolves when the session is closed; never rejects. */
  readonly closed: Promise<CloseInfo>;
  /**
   * Adds an event listener. If it throws, the error is reported as uncaught, and other listeners are still called.
   *
   * @param event one of {@link SessionEvents}
   * @param listener is called with the details
   * @returns a function that removes the listener
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
   * Sends a ping to the broker and measures the round trip.
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
   * Checks the connection now, for example when the application knows that the network has changed or the machine was
   * asleep: a connection on which the broker does not answer within 3 s is replaced. If the client is reconnecting, it
   * makes the next attempt at once. Pages do this by themselves when they wake or the network is back.
   *
   * @example
   * session.reconnect();
   * console.log(session.state); // -> connected
   */
  reconnect(): void;
  /**
   * Whether the client and the broker have agreed on a feature that goes beyond the protocol of official brokers; after a
   * reconnection the answer may be another one. While reconnecting it is that of the last connection; once the session is
   * closed, `false`.
   *
   * @throws {@link MessagingError}: `INVALID_ARGUMENT` if there is no such feature
   * @example
   * console.log(session.supports("batching")); // -> true
   */
  supports(feature: Feature): boolean;
  /**
   * Logs in under another principal, or again with a renewed token; the session and its ID stay.
   *
   * @param principal the name to log in under
   * @param credentials password or token
   * @returns `true` if the broker accepted; `false` if it refused, and nothing has changed
   * @throws {@link MessagingError}: as {@link ping}, and `INVALID_ARGUMENT`
   * @example
   * console.log(await session.changePrincipal("control", "password"), session.principal); // -> true control
   */
  changePrincipal(principal: string, credentials?: Credentials): Promise<boolean>;
  /**
   * Returns this session's properties, as the broker has them. Properties that the session does not have are left out.
   *
   * @param keys which properties; may include {@link ALL_FIXED_PROPERTIES} and {@link ALL_USER_PROPERTIES}. Default:
   *   all
   * @throws {@link MessagingError}: as {@link ping}, and `INVALID_ARGUMENT`
   * @example
   * const session = await connect("ws://localhost:8080/antiphon", { properties: { team: "blue" } });
   * console.log(await session.getProperties(["team", "$Transport"])); // -> { '$Transport': 'WEBSOCKET', team: 'blue' }
   */
  getProperties(keys?: readonly string[]): Promise<Record<string, string>>;
  /**
   * Calls a listener for every message of this session, in both directions, for debugging and tests. There is no cost
   * while there is no listener.
   *
   * While there is a listener, each request that is sent is also a `performance.measure` called `antiphon` and its
   * path, whose `detail` is `{ path, outcome }` with the outcome `"ok"`, an error code, or `"ABORTED"`; browsers show
   * it in the Performance panel. The latest entries, 1000 at most, stay in the page's performance buffer until
   * `performance.clearMeasures()`.
   *
   * @param listener called synchronously for each message; credentials and the session token are never included
   * @param options with `values: true`, the listener gets the decoded value of each message; default: false
   * @returns a function that removes the listener
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
   * Ends the session. Pending requests reject with `SESSION_CLOSED`. Can be called again, and in every state; without a
   * connection the broker is not told, and keeps the session until its time is over.
   *
   * @returns resolves when the session is closed; never rejects
   * @example
   * await session.close();
   * console.log(session.state); // -> closed
   */
  close(): Promise<void>;
  /**
   * The same as {@link close}, for `await using`.
   *
   * @example
   * await using session = await connect("ws://localhost:8080/antiphon");
   * console.log(session.state); // -> connected
   */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * What this client and Antiphon's own broker can do beyond the protocol of official brokers ({@link Session.supports}).
 * `batching`: several messages in one WebSocket message; `deadlines`: handlers know how much time is left; `cancelling`:
 * they are told when the sender gives up; `busy`: the broker minds {@link HandlerOptions.maxConcurrent};
 * `idempotency`: it remembers {@link RequestOptions.idempotencyKey}; `metadata`, `details`: {@link RequestOptions.metadata} and
 * {@link MessagingError.details} are passed on; `discovery`: {@link Messaging.findHandlers} and the calls beside it.
 *
 * @example
 * const feature: Feature = "batching";
 * console.log(session.supports(feature)); // -> true
 */
export type Feature =
  | "batching"
  | "deadlines"
  | "cancelling"
  | "busy"
  | "idempotency"
  | "metadata"
  | "details"
  | "discovery";
/**
 * State of a session: `connecting` until the broker has accepted it, then `connected`; `recovering` while the client is
 * reconnecting; `closed` for good.
 *
 * @example
 * const isOnline = (state: SessionState) => state === "connected";
 * console.log(isOnline(session.state)); // -> true
 */
export type SessionState = "connecting" | "connected" | "recovering" | "closed";

/**
 * How a session ended.
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
  /** Whether {@link Session.close} was called, or the page was left. */
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
 * The events of a session, for {@link Session.on}.
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
  /** The state of the session changed. Fired before the event that says why. */
  statechange: {
    /** The state until now. */
    from: SessionState;
    /** The new state. */
    to: SessionState;
  };
  /** The connection was lost. Fired once, however many attempts to reconnect follow. */
  disconnect: {
    /** For people. */
    reason: string;
  };
  /** The session is connected again. */
  reconnect: {
    /** Whether nothing was lost; pending requests still get their responses. */
    lossless: boolean;
    /** Whether the broker no longer had the session and opened a new one, with a new `id`. */
    newSession: boolean;
  };
  /** Messages were lost with the connection. Fired before `reconnect`. */
  messageloss: {
    /** How many requests were rejected with `CONNECTION_LOST`. */
    requests: number;
    /** How many request handlers are being registered again. */
    handlers: number;
  };
  /** The session is closed. */
  close: CloseInfo;
}

/**
 * A message, as {@link Session.inspect} shows it.
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
  /** Each `request` is followed by one `response` or one `error`, unless the connection breaks. */
  readonly kind: "request" | "response" | "error";
  /**
   * Name of the protocol's service, e.g. `MESSAGING_SEND`. A response has that of its request, or `""` if the request
   * was not seen.
   */
  readonly service: string;
  /** A number that a response shares with its request. Each side numbers the requests that it sends. */
  readonly conversation: number;
  /** The message path, if there is one; a response has that of its request. */
  readonly path?: string;
  /** Name of the value's data type, if the message has a value. */
  readonly type?: string;
  /** Size of the whole message, in bytes. */
  readonly size: number;
  /** When it was sent or received, on the clock of `performance.now()`. */
  readonly time: number;
  /** The decoded value; only with `values: true`. */
  readonly value?: unknown;
}

/**
 * Sends requests and answers them: the messaging component of a session.
 *
 * @example
 * const { messaging } = session;
 * console.log(messaging.services.MESSAGING_SEND.id); // -> 85
 */
export interface Messaging<C extends Contract = AnyContract> {
  /** The protocol's services. The same object as `session.services`. */
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
   * The broker chooses the handler registered for the most specific path that is `path` or a parent of it; among
   * several, it picks two at random and uses the less busy one. The request is sent during the call: changing it
   * afterwards has no effect.
   *
   * With a {@link Contract} the path says what is sent and what comes back; without one, you can:
   * `sendRequestToPath<number>(...)`.
   *
   * @typeParam T without a contract the type of the response; with one the path, which need not be written
   * @param path e.g. `orders/eu`
   * @param request a string, number, bigint, bytes, or anything that JSON can express
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
   * const { messaging } = await connect<Shop>("ws://localhost:8080/antiphon");
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
   * Sends a request to the session with this ID, which answers it with its handler for exactly `path` that has
   * `addressed: true`.
   *
   * @param path as the recipient gave it to {@link addStreamHandler}
   * @param sessionId of the recipient, which may be the sender itself
   * @param request as with {@link sendRequestToPath}
   * @param options of this request
   * @returns the response
   * @throws {@link MessagingError}: `NO_SUCH_SESSION` if there is none with this ID, `UNHANDLED_MESSAGE` if it has no
   *   such handler at this path, and as with {@link sendRequestToPath}
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
   * Sends a request to every session that matches `filter` at this moment, possibly including this one. Each answers it
   * with its handler for exactly `path`.
   *
   * The promise resolves with the number of sessions. Then there is exactly one response or error from each of them, in
   * order of arrival: to `onResponse` or, without it, to the handler that {@link addFilterResponseHandler} has set for
   * this filter. Whatever arrives after `timeout` is dropped without a call; {@link gather} throws in that case.
   *
   * @param filter e.g. `$Principal is 'ops' and has room`
   * @param path as the recipients gave it to {@link addStreamHandler}
   * @param request as with {@link sendRequestToPath}
   * @param options of this request, and what to call with the responses
   * @returns how many sessions match
   * @throws {@link InvalidFilterError}, which says where, if the filter does not parse; {@link MessagingError} as with
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
    options?: Omit<RequestOptions, "idempotencyKey"> & {
      onResponse?: FilterResponseHandler<IfOpen<C, any, ResponseOf<C, P>>>;
    },
  ): Promise<number>;

  /**
   * Sends a request to every session that matches `filter`, as {@link sendRequestToFilter} does, and returns the
   * responses for a `for await` loop.
   *
   * The loop ends when every session has answered or failed. With `atLeast`, it ends after that many responses, and
   * throws `NOT_ENOUGH` as soon as there can no longer be that many. It throws `TIMED_OUT` at the deadline, or the
   * error that ended the request. Leaving the loop or aborting the signal drops the remaining responses.
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
    options?: Omit<RequestOptions, "idempotencyKey"> & { atLeast?: number },
  ): Gathering<ResponseTold<C, T>>;

  /**
   * Counts the sessions that a filter matches, as {@link sendRequestToFilter} would. Only brokers of Antiphon know how.
   *
   * @param filter e.g. `$Principal is 'ops' and has room`
   * @param options of this question
   * @returns how many sessions match, and have a connection
   * @throws {@link InvalidFilterError}, which says where, if the filter does not parse; {@link MessagingError}: `UNSUPPORTED`
   *   if the broker does not have the feature `discovery`, `ACCESS_DENIED` without the permission `VIEW_SESSION`
   * @example
   * console.log(await session.messaging.countSessions("$SessionId is ''")); // -> 0
   */
  countSessions(filter: string, options?: CallOptions): Promise<number>;
  /**
   * Finds out where a request to `path` would go. Only brokers of Antiphon know that.
   *
   * @param path e.g. `orders/eu`
   * @param options of this question
   * @returns the handlers, `undefined` if there are none
   * @throws {@link MessagingError}: `UNSUPPORTED` if the broker does not have the feature `discovery`, `ACCESS_DENIED` if
   *   this session may not send requests there
   * @example
   * console.log(await session.messaging.findHandlers("nobody/here")); // -> undefined
   */
  findHandlers(path: string, options?: CallOptions): Promise<FoundHandlers | undefined>;
  /**
   * Watches where a request to `path` would go. Only brokers of Antiphon tell that.
   *
   * The listener is called with what there is, before the promise is kept, and at every change; changes that follow each
   * other within about 50 ms are told together. Without a connection nothing is told; afterwards the broker is asked again by
   * itself. What the listener throws is reported, and changes nothing. The watch ends with the session.
   *
   * @param path e.g. `orders/eu`
   * @param listener takes the handlers, `undefined` if there are none
   * @param options `signal` ends the watch
   * @returns what ends the watch: `close` may be called again, and after it nothing is told
   * @throws {@link MessagingError} as with {@link findHandlers}, within {@link ConnectOptions.requestTimeout}
   * @example
   * const watch = await session.messaging.watchHandlers("nobody/here", (found) => console.log(found)); // -> undefined
   * await watch.close();
   */
  watchHandlers(
    path: string,
    listener: (found: FoundHandlers | undefined) => void,
    options?: { signal?: AbortSignal },
  ): Promise<HandlerWatch>;

  /**
   * Registers a function that answers requests for `path` and everything below it.
   *
   * What the function returns, or its promise resolves with, is the response. If it throws, the sender's promise
   * rejects: with `REJECTED_REQUEST` for a {@link RejectedRequestError}, with `CALLBACK_EXCEPTION` for anything else,
   * which the console of this side shows as well. The handler stays registered.
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
   * Adds a function that answers requests for exactly `path`. It is local: the broker is not told.
   *
   * With `addressed: true` it answers requests that are sent to this session by its ID or by a filter. Without it, it
   * answers requests that the broker forwards to this session because of a registered handler, instead of that handler:
   * one slot for each path, the later one answers, and closing it restores nothing.
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
   * Adds a function that gets the responses to requests sent to exactly this filter text without an `onResponse`. A
   * later one replaces it.
   *
   * @param filter exactly as it will be sent
   * @param handler is called once for each response or error
   * @param options of this handler
   * @throws {@link MessagingError}: `INVALID_ARGUMENT`, or `SESSION_CLOSED`
   * @example
   * session.messaging.addStreamHandler("status", () => "idle", { addressed: true });
   * session.messaging.addFilterResponseHandler("all", ({ value, error }) => console.log(error ?? value)); // -> idle
   * await session.messaging.sendRequestToFilter("all", "status", null);
   */
  addFilterResponseHandler(
    filter: string,
    handler: FilterResponseHandler,
    options?: FilterResponseOptions,
  ): FilterRegistration;
}

/**
 * Where a request would go.
 *
 * @example
 * await session.messaging.addRequestHandler("found", () => "response");
 * const found: FoundHandlers | undefined = await session.messaging.findHandlers("found/below");
 * console.log(found?.path, found?.handlers); // -> found 1
 */
export interface FoundHandlers {
  /** The path that the handlers are registered at: the one asked for, or one above it. */
  readonly path: string;
  /** How many sessions have a handler there; at least 1. */
  readonly handlers: number;
}

/**
 * A watch of the handlers for a path.
 *
 * @example
 * const watch: HandlerWatch = await session.messaging.watchHandlers("nobody/here", () => {});
 * await watch.close();
 */
export interface HandlerWatch {
  /**
   * Ends the watch: nothing is told any more. It may be called again.
   *
   * @example
   * const watch = await session.messaging.watchHandlers("nobody/here", () => {});
   * await watch.close();
   */
  close(): Promise<void>;
}

/**
 * Options of a question to the broker. All are optional.
 *
 * @example
 * const options: CallOptions = { timeout: 1000, signal: AbortSignal.timeout(500) };
 * console.log(await session.messaging.findHandlers("nobody/here", options)); // -> undefined
 */
export interface CallOptions {
  /** Time limit in milliseconds; 0 for none. Default: {@link ConnectOptions.requestTimeout}. */
  timeout?: number;
  /** Stops waiting when it is aborted; the promise then rejects with the signal's reason. */
  signal?: AbortSignal;
}

/**
 * Options of a request. All are optional.
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
  /** Data type of the request. Default: that of a {@link DataValue}, otherwise chosen by the value. */
  type?: DataTypeLike;
  /**
   * Data type to convert the response to; if that would lose something, the promise rejects with
   * `INCOMPATIBLE_DATATYPE`. Default: the request's type if it was named, otherwise no conversion.
   */
  responseType?: DataTypeLike;
  /**
   * Time limit in milliseconds, from the call to the response, connected or not; then `TIMED_OUT`. The broker has a
   * time limit too, 60 s by default, so a longer one does not help. 0: only the broker's limit. A timeout that is named
   * here is told to the handler: {@link RequestContext.timeLeft}. Default: {@link ConnectOptions.requestTimeout}.
   */
  timeout?: number;
  /**
   * Gives the request up; the promise rejects with the signal's reason, and the handler's {@link RequestContext.signal} is
   * aborted. Default: none.
   *
   * @example
   * await session.messaging.addRequestHandler("slow", () => new Promise(() => {}));
   * const slow = session.messaging.sendRequestToPath("slow", null, { signal: AbortSignal.timeout(20) });
   * await slow.catch((error) => console.log(error.name)); // -> TimeoutError
   */
  signal?: AbortSignal;
  /**
   * What to do while there is no connection: fail at once (`NOT_CONNECTED`), or wait for one within `timeout`. Default:
   * `"fail"`.
   */
  whenDisconnected?: "fail" | "wait";
  /**
   * The context of the request that is being handled when this one is sent: this one takes no longer than that has time
   * left, is given up with it, and has its trace context: {@link metadata}. Default: none.
   *
   * @example
   * const { messaging } = session;
   * await messaging.addRequestHandler("price", () => 3);
   * await messaging.addRequestHandler("total", async (count, context) => {
   *   return count * Number(await messaging.sendRequestToPath("price", null, { within: context }));
   * });
   * console.log(await messaging.sendRequestToPath("total", 2, { timeout: 1000 })); // -> 6
   */
  within?: RequestContext;
  /**
   * Texts by key for whoever handles the request, beside its value: {@link RequestContext.metadata}. At most 8 KiB in all.
   * `traceparent` and `tracestate` are the W3C trace context; those of the request that this one is {@link within} go along
   * by themselves, unless this one names a `traceparent`. Dropped by brokers and clients that know of no metadata:
   * `session.supports("metadata")`. Default: none.
   *
   * @example
   * await session.messaging.addRequestHandler("tea", (_, { metadata }) => `for ${metadata.customer}`);
   * const options = { metadata: { customer: "Ada" } };
   * console.log(await session.messaging.sendRequestToPath("tea", null, options)); // -> for Ada
   */
  metadata?: Readonly<Record<string, string>>;
  /**
   * A text of 1 to 128 characters, by which the request may be sent again without being handled twice: the broker
   * remembers what became of it, for 2 minutes from its answer on, and whoever sends another one with this key, to the
   * same path or session and as the same principal, gets the same answer. The keys of an anonymous session are its own.
   * Only with a broker that remembers, `session.supports("idempotency")`, and not to a filter: else `INVALID_ARGUMENT`.
   * Default: none.
   *
   * @example
   * let cups = 0;
   * await session.messaging.addRequestHandler("tea", () => (cups += 1));
   * const options = { idempotencyKey: "tea at five" };
   * console.log(await session.messaging.sendRequestToPath("tea", null, options)); // -> 1
   * console.log(await session.messaging.sendRequestToPath("tea", null, options)); // -> 1
   */
  idempotencyKey?: string;
  /**
   * Sends the request again when it has failed, that does no harm and can help: as `BUSY` and, if it has an
   * `idempotencyKey`, as `CONNECTION_LOST` or `REQUEST_TIME_OUT`, as long as the broker remembers the key. While there is no
   * connection it waits for one, and what was not sent is no attempt. All attempts together have the request's `timeout`, and
   * its `signal` ends them. If nothing helps, or the session is closed meanwhile, the promise rejects with the last error, or
   * with the one that leaves open whether the request was handled; its message says how many attempts there were. Default: one
   * attempt.
   *
   * @example
   * const { messaging } = session;
   * await messaging.addRequestHandler("paint", (colour) => `painted ${colour}`, { maxConcurrent: 1 });
   * const retry = { attempts: 10, backoff: (attempt: number) => 10 * attempt };
   * const paint = (colour: string) => messaging.sendRequestToPath("paint", colour, { retry });
   * console.log(await Promise.all(["red", "blue"].map(paint))); // -> [ 'painted red', 'painted blue' ]
   */
  retry?: {
    /**
     * How often the request is sent at most, the first time included; `Infinity`: as long as there is time. With 1 it is not
     * repeated, nor waits for a connection because of that.
     */
    attempts: number;
    /**
     * Gives the milliseconds to wait after so many attempts. Where it throws or gives no time, the promise rejects with
     * `INVALID_ARGUMENT`. Default: at random, up to 100 ms after the first, doubling up to 5 s.
     */
    backoff?: (attempt: number) => number;
  };
}

/**
 * Options of a request handler. All are optional.
 *
 * @example
 * const options: HandlerOptions = {
 *   sessionProperties: ["$Principal"],
 *   requestType: "json",
 *   responseType: "string",
 *   maxConcurrent: 4,
 *   maxQueued: 16,
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
   * Which of the sender's session properties come with each request; may include {@link ALL_FIXED_PROPERTIES} and
   * {@link ALL_USER_PROPERTIES}. Default: none.
   */
  sessionProperties?: readonly string[];
  /**
   * Data type to convert requests to; requests that cannot be converted are refused with `INCOMPATIBLE_DATATYPE`.
   * Default: no conversion.
   */
  requestType?: DataTypeLike;
  /**
   * Data type of the responses. Default: the request's type if it can hold the response, otherwise chosen by the value.
   */
  responseType?: DataTypeLike;
  /**
   * How many requests to handle at the same time. Antiphon's broker sends no more than that: it asks another handler of the
   * path, or tells the sender `BUSY`, unless {@link HandlerOptions.maxQueued} lets it wait. From other brokers, and of
   * requests that are addressed to this session, further ones wait here, in order. A request that was given up, or whose
   * time is over, does not count any more: let `signal` stop what is done for it. Default: no limit.
   */
  maxConcurrent?: number;
  /**
   * How many requests may wait at the broker while all handlers of the path have as many as they take; those of different
   * senders take turns. What the handlers of a path say is added up. Default: 0.
   */
  maxQueued?: number;
  /**
   * Milliseconds that a request may take here, its time in the queue included; 0: no limit. Then its
   * {@link RequestContext.signal} is aborted, its place is free for the next one, and the sender is told
   * `REQUEST_TIME_OUT`. Default: 60 000, which is as long as the broker waits.
   */
  timeout?: number;
  /** Whether to register the handler again automatically after message loss or in a new session. Default: true. */
  reregister?: boolean;
  /**
   * Whether the handler also answers requests that are sent to this session by its ID or by a filter, at exactly this
   * path. Default: false.
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
 * Options of a stream. All are optional.
 *
 * @example
 * const options: StreamOptions = { addressed: true, maxConcurrent: 1 };
 * session.messaging.addStreamHandler("status", () => "idle", options);
 * console.log(await session.messaging.sendRequestToSession("status", session.id, null)); // -> idle
 */
export interface StreamOptions
  extends Omit<HandlerOptions, "maxQueued" | "sessionProperties" | "reregister" | "whenDisconnected" | "addressed"> {
  /**
   * `true`: the stream answers requests that are sent to this session by its ID or by a filter. `false`: it answers
   * those that the broker forwards because of a registered handler. Default: false.
   */
  addressed?: boolean;
}

/**
 * Answers requests: a function, or an object with a method `handle`. The object may also have `requestType` and
 * `responseType`; {@link HandlerOptions} take precedence.
 *
 * @example
 * const length: RequestHandler<string, number> = (text) => text.length;
 * await session.messaging.addRequestHandler("length", length);
 * console.log(await session.messaging.sendRequestToPath("length", "four")); // -> 4
 */
export type RequestHandler<Req = any, Res = unknown> =
  | ((request: Req, context: RequestContext) => Res | Promise<Res>)
  | {
      /** Called for each request; `args` has the request and everything that functions get as their second argument. */
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
 * Creates request handlers that are objects.
 *
 * @example
 * const Handler: RequestHandlerConstructor = RequestHandler;
 * console.log({ handle: () => "yes" } instanceof Handler, {} instanceof Handler); // -> true false
 */
export interface RequestHandlerConstructor {
  /**
   * Creates a request handler from a function.
   *
   * @param callback called with the request and its context
   * @param options data types of requests and responses
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
 * What a request handler is told about a request besides its value.
 *
 * @example
 * const handler: RequestHandler = (_, context: RequestContext) => {
 *   const { path, addressed, senderSessionId, sessionProperties, requestType, signal, timeLeft } = context;
 *   const isOwn = senderSessionId === session.id;
 *   return [path, addressed, isOwn, sessionProperties.$Transport, requestType, signal.aborted, timeLeft < Infinity];
 * };
 * await session.messaging.addRequestHandler("about", handler, { sessionProperties: ["$Transport"] });
 * console.log(await session.messaging.sendRequestToPath("about/this", "x", { responseType: "json" }));
 * // -> [ 'about/this', false, true, 'WEBSOCKET', 'string', false, false ]
 *
 * const pay: RequestHandler = (_, { idempotencyKey, metadata }) => `${metadata.customer} pays ${idempotencyKey}`;
 * await session.messaging.addRequestHandler("pay", pay);
 * const options = { idempotencyKey: "bill 17", metadata: { customer: "Ada" } };
 * console.log(await session.messaging.sendRequestToPath("pay", null, options)); // -> Ada pays bill 17
 */
export interface RequestContext {
  /** The path as the sender wrote it; the registered path or one below it. */
  readonly path: string;
  /** Whether the request was sent to this session, by its ID or by a filter. */
  readonly addressed: boolean;
  /** ID of the sender's session; missing for addressed requests. */
  readonly senderSessionId?: string;
  /** The sender's session properties, those that the registration asked for. */
  readonly sessionProperties: Record<string, string>;
  /** Name of the request's data type on the wire. */
  readonly requestType: string;
  /** Milliseconds until the sender stops waiting, 0 from then on; `Infinity` if it named no timeout. */
  readonly timeLeft: number;
  /** The key under which the sender may send the request again, if it named one: {@link RequestOptions.idempotencyKey}. */
  readonly idempotencyKey?: string;
  /** What the sender says beside the request: {@link RequestOptions.metadata}. Empty if it says nothing. */
  readonly metadata: Readonly<Record<string, string>>;
  /**
   * Aborted when nobody waits for the answer any more, or it can no longer be delivered. The reason is a
   * {@link MessagingError}: with code `CANCELLED` if the sender gave up or is gone, `TIMED_OUT` if its time or the handler's
   * {@link HandlerOptions.timeout} is over, and others if this session has ended or lost messages.
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
  /** The path, as it was registered. */
  readonly path: string;
  /**
   * Removes the handler at once, connected or not: it gets no further requests. Requests that have arrived are still
   * answered. The broker is told as soon as there is a connection; the path can be registered again without waiting.
   * Never rejects; resolves when the broker agrees, or at once if there is no connection. Can be called more than once.
   *
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
 * Of a handler for the responses to a filter.
 *
 * @example
 * const view = new AbortController();
 * const options: FilterResponseOptions = { signal: view.signal };
 * session.messaging.addFilterResponseHandler("all", ({ value }) => console.log(value), options);
 * view.abort(); // it is gone
 */
export interface FilterResponseOptions {
  /** Takes the handler out when it is aborted. */
  signal?: AbortSignal;
}

/**
 * A handler for the responses to a filter.
 *
 * @example
 * const registration: FilterRegistration = session.messaging.addFilterResponseHandler("all", () => {});
 * console.log(registration.filter); // -> all
 */
export interface FilterRegistration {
  /** The filter, as it was passed. */
  readonly filter: string;
  /**
   * Removes the handler, unless another one has replaced it.
   *
   * @example
   * const registration = session.messaging.addFilterResponseHandler("all", ({ value }) => console.log(value));
   * registration.close();
   */
  close(): void;
}

/**
 * Receives the responses to a request that was sent to a filter: a function, or an object with a method `handle`.
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
      /** Called for each response, and for each session that failed. */
      handle(event: "response" | "error", args: FilterResponse<Res>): void;
    };

/**
 * The response or error of one of the sessions that a request was sent to.
 *
 * @example
 * const show = ({ sessionId, filter, path, value, error, received, expected }: FilterResponse) =>
 *   console.log(sessionId === session.id, filter, path, value, error, `${received} of ${expected}`);
 * // -> true all status idle undefined 1 of 1
 * session.messaging.addStreamHandler("status", () => "idle", { addressed: true });
 * await session.messaging.sendRequestToFilter("all", "status", null, { onResponse: show });
 */
export interface FilterResponse<Res = any> {
  /** ID of the session that answered. */
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
 * The responses to a request that was sent to a filter, as they arrive. Can be iterated over once.
 *
 * @example
 * session.messaging.addStreamHandler("load", () => 0.5, { addressed: true });
 * const gathering: Gathering<number> = session.messaging.gather<number>("all", "load", null);
 * console.log(await gathering.expected); // -> 1
 * for await (const { value } of gathering) console.log(value); // -> 0.5
 */
export interface Gathering<Res = unknown> extends AsyncIterable<Gathered<Res>> {
  /** How many sessions were asked. If you do not use it, its rejection is not reported as unhandled. */
  readonly expected: Promise<number>;
}

/**
 * The response or error of one session.
 *
 * @example
 * const show = ({ sessionId, value, error }: Gathered) => console.log(sessionId === session.id, error?.code ?? value);
 * // -> true UNHANDLED_MESSAGE
 * for await (const one of session.messaging.gather("all", "nothing/here", null)) show(one);
 */
export interface Gathered<Res = unknown> {
  /** ID of the session that answered. */
  sessionId: string;
  /** The response, unless there is an error. */
  value?: Res;
  /** Why there is no response. */
  error?: MessagingError;
}

/**
 * A service of the protocol: a kind of request between a session and the broker, with a number.
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
   * @param body the encoded request; if it is malformed, the broker ends the session
   * @returns the body of the response
   * @throws {@link MessagingError}: `UNSUPPORTED` if the broker does not offer it, and as {@link Session.ping}
   * @example
   * const body = await session.services.USER_PING.invoke(new Uint8Array());
   * console.log(body.length); // -> 0
   */
  invoke(body: Uint8Array): Promise<Uint8Array>;
}

/**
 * The protocol's services, by name (`services.MESSAGING_SEND`) or by name or number (`get`); iterable.
 *
 * @example
 * const services: ServiceLocator = session.services;
 * console.log(services.get(85)?.name, services.MESSAGING_SEND.id, services.get("NO_SUCH_THING"));
 * // -> MESSAGING_SEND 85 undefined
 */
export type ServiceLocator = Iterable<Service> & {
  /** Returns the service with this name or number, or `undefined`. */
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
 * The types of requests and responses by path, or by template literal of paths. As {@link ConnectOptions.contract},
 * schemas.
 *
 * @example
 * interface Shop {
 *   "orders/eu": { request: string[]; response: number };
 *   [path: `stock/${string}`]: { request: string; response: number };
 * }
 * const { messaging } = await connect<Shop>("ws://localhost:8080/antiphon");
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
 * The type of a request to a path of a contract.
 *
 * @example
 * interface Shop {
 *   orders: { request: string[]; response: number };
 * }
 * const order: RequestOf<Shop, "orders"> = ["tea"];
 */
export type RequestOf<C, P extends PathOf<C>> = Side<C[P], "request">;

/**
 * The type of a response from a path of a contract.
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
 * The part of a Standard Schema (standardschema.dev) that is used. Many validation libraries implement it.
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
 * const { messaging } = await connect("ws://localhost:8080/antiphon", { contract });
 * await messaging.sendRequestToPath("prices", -1).catch((error) => console.log(error.code, error.outcome));
 * // -> INVALID_DATA not-sent
 */
export interface StandardSchemaV1<Input = unknown, Output = Input> {
  /** The property that the specification defines. */
  readonly "~standard": {
    /** Version of the specification. */
    readonly version: 1;
    /** Name of the library. */
    readonly vendor: string;
    /** Returns the value, or what is wrong with it. */
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
 * A value with an explicit data type, made by calling one of {@link datatypes}. It can be sent, returned by a handler,
 * and be part of a json value.
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
  /** The value as the recipient will read it; objects and arrays are new copies at each access. */
  readonly value: T;
  /**
   * Returns the encoded value.
   *
   * @example
   * console.log(datatypes.STRING("hi").toBytes()); // -> Uint8Array(3) [ 98, 104, 105 ]
   */
  toBytes(): Uint8Array<ArrayBuffer>;
}

/**
 * A data type. Call it to make a value of this type.
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
   * Decodes a value.
   *
   * @throws {@link MessagingError} with code `INVALID_DATA` if the bytes are not a value of this type
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
  /** Everything that JSON can express, and bytes, bigints and all floats. */
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
  | "BUSY"
  | "CANCELLED"
  | "CLUSTER_ROUTING"
  | "CLUSTER_REPARTITION"
  | "COMMUNICATION_FAILURE"
  | "INCOMPATIBLE_STATE"
  | "TOPIC_TREE_REGISTRATION_CONFLICT"
  | "INTERNAL"
  | `REASON_${number}`;

/**
 * The error that promises of {@link Messaging} and {@link Session} reject with.
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
  /** The error of your own code, if that was the cause: what a schema, a getter or a `credentials` function threw. */
  readonly cause?: unknown;
  /**
   * What the handler's {@link RejectedRequestError.details} were, if it had some and they could be sent: a json value of at most
   * 64 KiB, between clients that know of details, `session.supports("details")`.
   *
   * @example
   * await session.messaging.addRequestHandler("tea", () => {
   *   throw new RejectedRequestError("sold out", { details: { left: ["coffee"] } });
   * });
   * await session.messaging.sendRequestToPath("tea", null).catch(({ details }) => console.log(details)); // -> { left: [ 'coffee' ] }
   */
  readonly details?: unknown;
}

/**
 * The error for a session filter that does not parse. Its code is `INVALID_FILTER`; nobody was asked.
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
  /** What is wrong, and where. */
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
 * Throw this in a request handler to reject a request: the sender gets code `REJECTED_REQUEST` with this message.
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
   * Creates the error.
   *
   * @param message what the sender is told, at most 1024 characters of it
   * @param options `details`: a json value for the sender's error, {@link RejectedRequestError.details}; `cause`: not sent
   * @example
   * await session.messaging.addRequestHandler("closed", async () => {
   *   throw new RejectedRequestError("we are closed today", { details: { opens: "Monday" } });
   * });
   */
  constructor(message: string, options?: { details?: Value; cause?: unknown });
  /**
   * Further data for the sender, for its {@link MessagingError.details}. What is no json value or has more than 64 KiB is left
   * out, which the console of this side shows.
   *
   * @example
   * console.log(new RejectedRequestError("sold out", { details: { left: 0 } }).details); // -> { left: 0 }
   */
  readonly details?: unknown;
  /**
   * Why the handler rejected the request; not sent.
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
 * await connect("ws://localhost:8080/antiphon", { principal: "eve" }).catch(({ code }) => console.log(needsLogin(code))); // -> true
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
 * The error that {@link connect} rejects with when no session could be opened.
 *
 * @example
 * try {
 *   await connect("ws://localhost:8080/antiphon", { principal: "control", credentials: "wrong" });
 * } catch (error) {
 *   if (!(error instanceof ConnectError)) throw error;
 *   console.log(error.code, error.retryable, error.cause); // -> ACCESS_DENIED false undefined
 * }
 */
export class ConnectError extends Error {
  private constructor();
  /** For programs, one of {@link ConnectErrorCode}; `message` is for people. */
  readonly code: ConnectErrorCode | (string & {});
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;
  /** The underlying error, if it is known: from the platform, the `credentials` function or an option. */
  readonly cause?: unknown;
}

/**
 * Escapes text for use between the quotes of a string in a session filter.
 *
 * @example
 * const room = "Conan's";
 * console.log(`room is '${escapeFilter(room)}'`); // -> room is 'Conan\'s'
 */
export function escapeFilter(text: string): string;

/**
 * In a list of session properties: all fixed ones, whose names begin with `$`.
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
 * const session = await connect("ws://localhost:8080/antiphon", { properties: { team: "blue" } });
 * console.log(await session.getProperties([ALL_USER_PROPERTIES])); // -> { team: 'blue' }
 */
export const ALL_USER_PROPERTIES: string;

/**
 * The principal of an anonymous session: the empty string.
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
