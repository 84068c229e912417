/**
 * Request-response messaging for web apps: a tab asks, another session answers, over one WebSocket.
 *
 * ```ts
 * import { connect } from "antiphon";
 *
 * const session = await connect("ws://localhost:8080");
 * await session.messaging.addRequestHandler("greetings", (name) => `Hello, ${name}!`);
 * console.log(await session.messaging.sendRequestToPath("greetings", "Ada"));
 * ```
 *
 * @module
 */

/**
 * Opens a session.
 *
 * `ws://host:port` alone means the path `/diffusion`; `http://` and `https://` are read as `ws://` and `wss://`. The
 * WebAssembly is loaded with the first call.
 *
 * @throws {@link ConnectError} if no session could be opened, or the signal's reason if it was aborted
 * @example
 * const session = await connect("wss://example.com", { principal: "ada", credentials: "secret" });
 */
export function connect<C extends Contract = AnyContract>(
  url: string | URL,
  options?: ConnectOptions<C>,
): Promise<Session<C>>;

/**
 * Loads the WebAssembly before the first {@link connect}, or from a place of your own. Nobody has to call it.
 *
 * @param source where the `.wasm` file is, or what it holds; default: beside this module
 * @throws {@link ConnectError} with code `WASM_LOAD_FAILED`; the next call tries again
 */
export function init(
  source?: string | URL | Request | Response | BufferSource | WebAssembly.Module | Promise<Response>,
): Promise<void>;

/** How to connect. */
export interface ConnectOptions<C extends Contract = AnyContract> {
  /** Who connects. Default: anonymous. */
  principal?: string;
  /** Proof of it: a password, or bytes for an authenticator of your own. A function is asked before every attempt. */
  credentials?: Credentials | (() => Credentials | undefined | Promise<Credentials | undefined>);
  /** Session properties to propose; the broker decides which it accepts. Keys have no blanks, quotes or parentheses. */
  properties?: Record<string, string>;
  /** Milliseconds from the call to the open session. Default: 10 000. */
  connectTimeout?: number;
  /** Milliseconds for requests that name no `timeout`, for registrations and for pings. Default: 30 000. */
  requestTimeout?: number;
  /**
   * What happens when the connection is lost. `false`: the session ends. Else the broker is asked to keep the session for
   * `timeout` ms (default 60 000), and for so long the client tries to get another connection; `delay` chooses the
   * milliseconds before each attempt, counted from 1. Default: random up to 100 ms, doubling up to 5 s.
   */
  reconnect?: false | { timeout?: number; delay?: (attempt: number) => number };
  /**
   * Largest message taken from the broker, in bytes, at least 1024. A larger one costs the request that it belongs to, and
   * nothing else. Default: 32 MiB, and 256 KiB for what goes with a value.
   */
  maxMessageSize?: number;
  /** Gives up connecting when it is aborted. */
  signal?: AbortSignal;
  /** The WebSocket constructor to use, for example that of the package `ws`. Default: the platform's. */
  webSocket?: new (
    url: string,
  ) => WebSocketLike;
  /** Version of the wire protocol to ask for, 22 to 29. Default: 25. */
  protocolVersion?: number;
  /**
   * Standard Schemas by exact path: requests and responses are checked against them on both sides. Checks never replace
   * a value. A schema of a request must not be asynchronous, since requests are sent at the call. For types alone no
   * value is needed: `connect<Contract>(url)`.
   *
   * @example
   * const session = await connect(url, { contract: { prices: { request: itemSchema, response: priceSchema } } });
   */
  contract?: C;
  /** How much goes to the console; never secrets or payloads. Default: `"warn"`. */
  log?: "off" | "error" | "warn" | "info" | "debug" | "trace";
}

/** A password, or bytes that an authenticator understands. */
export type Credentials = string | Uint8Array;

/** What is used of a WebSocket. */
export interface WebSocketLike {
  binaryType: string;
  // biome-ignore lint/suspicious/noExplicitAny: implementations declare their own event types
  onopen: ((event: any) => unknown) | null;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  onmessage: ((event: any) => unknown) | null;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  onclose: ((event: any) => unknown) | null;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  onerror: ((event: any) => unknown) | null;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(): void;
}

/** A session with a broker: its record of this client. */
export interface Session<C extends Contract = AnyContract> {
  /** Names the session, e.g. `c11fef067d9debd4-0000000100000000`. Changes only when the broker had to open a new one. */
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
   * Adds a listener.
   *
   * @returns a function that takes it out again
   * @throws TypeError if there is no such event, or the listener is no function
   */
  on<E extends keyof SessionEvents>(event: E, listener: (detail: SessionEvents[E]) => void): () => void;
  /**
   * Measures a round trip to the broker.
   *
   * @returns milliseconds
   */
  ping(): Promise<number>;
  /**
   * Gives the session another principal, for example when a token was renewed; the session and its ID stay.
   *
   * @returns whether the broker accepted it; if not, the session stays as it was
   */
  changePrincipal(principal: string, credentials?: Credentials): Promise<boolean>;
  /**
   * This session's own properties as the broker knows them.
   *
   * @param keys which; may hold {@link ALL_FIXED_PROPERTIES} and {@link ALL_USER_PROPERTIES}. Default: all
   */
  getProperties(keys?: readonly string[]): Promise<Record<string, string>>;
  /**
   * Ends the session. Requests that wait for an answer reject with `SESSION_CLOSED`. Can be called again, and in
   * every state.
   */
  close(): Promise<void>;
  /** The same as {@link close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * `connecting` until the broker has accepted, then `connected`; `recovering` while a lost connection is being replaced;
 * `closed` for good.
 */
export type SessionState = "connecting" | "connected" | "recovering" | "closed";

/** The end of a session. */
export interface CloseInfo {
  /**
   * `CLOSED_BY_CLIENT`, `CLOSED_BY_SERVER`; `CONNECTION_TIMEOUT` if no connection came about within `reconnect.timeout`;
   * a code of {@link ConnectError} if the broker did not let the session in again. Without reconnection also
   * `CONNECTION_ERROR`, `TRANSPORT_ERROR` (the broker broke the protocol) and
   * `IDLE_CONNECTION` (nothing came from the broker for two ping periods).
   */
  code: string;
  /** For people. */
  reason: string;
  /** Whether it was {@link Session.close}. */
  byClient: boolean;
}

/** What {@link Session.on} listens to. */
export interface SessionEvents {
  /** The state of the session changed. Comes before the event that tells why. */
  statechange: { from: SessionState; to: SessionState };
  /** The connection was lost. Comes once, however many attempts to replace it follow. */
  disconnect: { reason: string };
  /**
   * There is a connection again. `lossless`: nothing was lost, requests under way get their answers. `newSession`: the
   * broker had forgotten the session and has opened a new one; its `id` is another.
   */
  reconnect: { lossless: boolean; newSession: boolean };
  /**
   * Messages were lost with the connection: so many requests were rejected with `CONNECTION_LOST`, and so many request
   * handlers are being registered again. Comes before `reconnect`.
   */
  messageloss: { requests: number; handlers: number };
  /** The session is over. */
  close: CloseInfo;
}

/** The messaging component of a session. */
export interface Messaging<C extends Contract = AnyContract> {
  /** The services of the protocol. */
  readonly services: ServiceLocator;

  /**
   * Sends a request to one session that handles `path`.
   *
   * The broker chooses the handler registered for the most specific path that is `path` or a parent of it; among equals
   * any one. What you change in `request` after the call is not sent.
   *
   * @param path e.g. `orders/eu`
   * @param request a string, number, bigint, bytes, or whatever JSON can say
   * @returns the response
   * @throws {@link MessagingError}: `UNHANDLED_MESSAGE` if nobody handles the path, `REJECTED_REQUEST` if the handler
   *   declined, `CALLBACK_EXCEPTION` if it failed, `TIMED_OUT` if no answer came in time, `NOT_CONNECTED` while there is
   *   no connection, `CONNECTION_LOST` if messages were lost with it
   * @example
   * const price = await session.messaging.sendRequestToPath<number>("prices/eu", { item: 17 }, { timeout: 5000 });
   */
  sendRequestToPath<P extends PathOf<C>>(
    path: P,
    request: RequestOf<C, P>,
    options?: RequestOptions,
  ): Promise<ResponseOf<C, P>>;
  sendRequestToPath<Res>(
    path: AnyContract extends C ? string : never,
    request: Value,
    options?: RequestOptions,
  ): Promise<Res>;

  /**
   * Sends a request to one session, for its stream at exactly `path`.
   *
   * @param path as the recipient gave it to {@link addStreamHandler}
   * @param sessionId of the recipient, which may be the sender itself
   * @param request as with {@link sendRequestToPath}
   * @returns the response
   * @throws {@link MessagingError}: `NO_SUCH_SESSION` if there is none with this ID, `UNHANDLED_MESSAGE` if it has no
   *   stream at this path, and as with {@link sendRequestToPath}
   * @example
   * const status = await session.messaging.sendRequestToSession("status", sessionId, null);
   */
  sendRequestToSession<Res = unknown>(
    path: string,
    sessionId: string,
    request: Value,
    options?: RequestOptions,
  ): Promise<Res>;

  /**
   * Sends a request to every session that matches `filter` now, this one included, for their streams at exactly `path`.
   *
   * First comes the count, then exactly one response or error from each of those sessions, in the order of arrival:
   * to `onResponse`, or without it to the handler of {@link addFilterResponseHandler} for this filter. `timeout` bounds
   * the whole; what comes later is dropped, and nothing is called for it. ({@link gather} tells of that.)
   *
   * @param filter e.g. `$Principal is 'ops' and has room`
   * @returns how many sessions match
   * @throws {@link InvalidFilterError} with the places if the filter does not parse
   * @example
   * const asked = await session.messaging.sendRequestToFilter("room is 'lobby'", "status", null, {
   *   onResponse: ({ sessionId, value, error }) => show(sessionId, error ?? value),
   * });
   */
  sendRequestToFilter(
    filter: string,
    path: string,
    request: Value,
    options?: RequestOptions & { onResponse?: FilterResponseHandler },
  ): Promise<number>;

  /**
   * Sends a request as {@link sendRequestToFilter} does, at once, and gives the responses as something to iterate over.
   *
   * Without `atLeast` the iteration ends when every session has answered or failed; with it, after so many responses, and
   * throws `NOT_ENOUGH` when they can no longer be reached. It throws `TIMED_OUT` at the deadline, and whatever else
   * ended the request. Leaving the loop, or aborting the signal, releases everything.
   *
   * @example
   * for await (const { sessionId, value, error } of session.messaging.gather("all", "status", null)) {
   *   show(sessionId, error ?? value);
   * }
   */
  gather<Res = unknown>(
    filter: string,
    path: string,
    request: Value,
    options?: RequestOptions & { atLeast?: number },
  ): Gathering<Res>;

  /**
   * Registers a function that answers requests for `path` and everything below it.
   *
   * What it returns is the response. It may be asynchronous. What it throws is the sender's error: a
   * {@link RejectedRequestError} becomes `REJECTED_REQUEST`, anything else `CALLBACK_EXCEPTION`; the handler stays
   * registered.
   *
   * @returns the registration, once the broker has accepted it
   * @throws {@link MessagingError}: `HANDLER_CONFLICT` if this session has a handler at that path already
   * @example
   * const registration = await session.messaging.addRequestHandler("prices", async (request, { path }) => {
   *   return await lookUp(path, request.item);
   * });
   */
  addRequestHandler<P extends string>(
    path: [Served<C, P>] extends [never] ? never : P,
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
   * @throws {@link MessagingError}: `INVALID_ARGUMENT`, or `SESSION_CLOSED`
   * @example
   * session.messaging.addStreamHandler("status", () => ({ idle: true }), { addressed: true });
   */
  addStreamHandler(path: string, handler: RequestHandler, options?: StreamOptions): Registration;

  /**
   * Sets a local function that gets the responses to requests that are sent to exactly this filter text without an
   * `onResponse`; a later one replaces it.
   *
   * @throws {@link MessagingError}: `INVALID_ARGUMENT`, or `SESSION_CLOSED`
   * @example
   * session.messaging.addFilterResponseHandler("room is 'lobby'", ({ sessionId, value }) => show(sessionId, value));
   */
  addFilterResponseHandler(filter: string, handler: FilterResponseHandler): FilterRegistration;
}

/** Of one request. */
export interface RequestOptions {
  /** Data type of the request. Default: that of a {@link DataValue}, else by the value. */
  type?: DataTypeLike;
  /**
   * Data type to convert the response to, where nothing is lost by it. Default: that of the request if it was named,
   * else none.
   */
  responseType?: DataTypeLike;
  /** Milliseconds from the call to the response, connected or not. Default: the session's `requestTimeout`. */
  timeout?: number;
  /** Gives up waiting when it is aborted; the promise rejects with its reason. The handler is not told. */
  signal?: AbortSignal;
  /** While there is no connection: an error at once (`NOT_CONNECTED`), or wait within `timeout`. Default: `"fail"`. */
  whenDisconnected?: "fail" | "wait";
}

/** Of a request handler. */
export interface HandlerOptions {
  /**
   * Properties of the sender that come with each request; may hold {@link ALL_FIXED_PROPERTIES} and
   * {@link ALL_USER_PROPERTIES}. Default: none.
   */
  sessionProperties?: readonly string[];
  /** Data type to convert requests to; those that cannot be are answered with `INCOMPATIBLE_DATATYPE`. */
  requestType?: DataTypeLike;
  /** Data type of the answers. Default: that of the request if it can hold the answer, else by the value. */
  responseType?: DataTypeLike;
  /** Requests that it answers at the same time; further ones wait in order. Default: no limit. */
  maxConcurrent?: number;
  /** Whether it is registered again by itself after message loss, or in a new session. Default: true. */
  reregister?: boolean;
}

/** Of a stream. */
export interface StreamOptions extends Omit<HandlerOptions, "sessionProperties" | "reregister"> {
  /** Whether it answers requests that are sent to this session by its ID or by a filter. Default: false. */
  addressed?: boolean;
}

/**
 * Answers requests: a function, or an object with a function `handle`, which may have `requestType` and `responseType`
 * as well; those of {@link HandlerOptions} win.
 */
export type RequestHandler<Req = Any, Res = unknown> =
  | ((request: Req, context: RequestContext) => Res | Promise<Res>)
  | { handle(event: "request", args: RequestContext & { request: Req }): Res | Promise<Res> };

/** Data types of a {@link RequestHandler}. */
export type RequestHandlerOptions = Pick<HandlerOptions, "requestType" | "responseType">;

/** Makes request handlers that are objects. */
export interface RequestHandlerConstructor {
  /** @throws TypeError if `callback` is no function */
  new (
    callback: (request: Any, context: RequestContext) => unknown,
    options?: RequestHandlerOptions,
  ): RequestHandlerOptions & {
    handle(event: "request" | undefined, args: RequestContext & { request: Any }): unknown;
  };
  /** Makes the instances of a class pass `instanceof RequestHandler`; returns the class. */
  register<T extends abstract new (...args: Any[]) => object>(type: T): T;
  /** Whatever has a function `handle` passes. */
  [Symbol.hasInstance](value: unknown): boolean;
}

/**
 * A request handler as an object.
 *
 * @example
 * const double = new RequestHandler((count) => count * 2n, { requestType: "int64", responseType: "int64" });
 * await session.messaging.addRequestHandler("double", double);
 */
export const RequestHandler: RequestHandlerConstructor;

/** What a request handler learns about a request besides its value. */
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

/** A registered request handler. */
export interface Registration {
  /** As it was registered. */
  readonly path: string;
  /**
   * Takes the registration back; settles when no further requests will come. For a request handler it rejects with
   * `NOT_CONNECTED` while there is no connection.
   */
  close(): Promise<void>;
  /** The same as {@link close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** A local handler for the responses to a filter. */
export interface FilterRegistration {
  /** As it was given. */
  readonly filter: string;
  /** Takes the handler out, unless another one has replaced it. */
  close(): void;
}

/** Gets the responses to a request that was sent to a filter: a function, or an object with a function `handle`. */
export type FilterResponseHandler =
  | ((response: FilterResponse) => void)
  | { handle(event: "response" | "error", args: FilterResponse): void };

/** What came of a request at one of the sessions that it was sent to. */
export interface FilterResponse {
  /** Whose response it is. */
  readonly sessionId: string;
  /** As it was sent. */
  readonly filter: string;
  /** As it was sent. */
  readonly path: string;
  /** The response, unless there is an error. */
  readonly value?: Any;
  /** Why there is no response. */
  readonly error?: MessagingError;
  /** How many responses and errors have come, this one included. */
  readonly received: number;
  /** How many will come. */
  readonly expected: number;
}

/** The responses to a request that was sent to a filter, as they arrive; to be iterated over once. */
export interface Gathering<Res = unknown>
  extends AsyncIterable<{ sessionId: string; value?: Res; error?: MessagingError }> {
  /** How many sessions match. Need not be looked at, even if it rejects. */
  readonly expected: Promise<number>;
}

/** A numbered kind of exchange between a session and the broker. */
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
   * @throws {@link MessagingError}: `UNSUPPORTED` if the broker does not offer it
   */
  invoke(body: Uint8Array): Promise<Uint8Array>;
}

/** Services by name (`services.MESSAGING_SEND`), by name or number (`get`), and all of them in turn. */
export type ServiceLocator = Iterable<Service> & {
  /** @returns undefined for one that is not known */
  get(nameOrId: string | number): Service | undefined;
} & { readonly [name: string]: Any };

/** What can be sent. */
export type Value = string | number | bigint | boolean | null | undefined | object;

/**
 * Types of requests and responses by path, or by template of paths: `` { "orders/eu": { request: Order; response: Receipt };
 * [path: `stock/${string}`]: { request: string; response: number } } ``. With {@link ConnectOptions.contract}, schemas.
 */
export type Contract = object;

/** No contract: any path, any value. */
export interface AnyContract {
  [path: string]: { request: Any; response: unknown };
}

/** The paths of a contract. */
export type PathOf<C> = keyof C & string;
/** What a contract lets be sent to a path. */
export type RequestOf<C, P extends PathOf<C>> = Side<C[P], "request">;
/** What a contract lets be answered at a path. */
export type ResponseOf<C, P extends PathOf<C>> = Side<C[P], "response">;
/** The paths of a contract that a handler at `P` serves. */
export type Served<C, P extends string> = P extends PathOf<C> ? P : Extract<PathOf<C>, `${P}/${string}`>;
type Side<T, K extends string> = T extends { [k in K]: infer S }
  ? S extends StandardSchemaV1<Any, infer O>
    ? O
    : S
  : unknown;

/** What is used of a Standard Schema (standardschema.dev), which many validation libraries make. */
export interface StandardSchemaV1<Input = unknown, Output = Input> {
  /** By this name the libraries agree on it. */
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}
type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | {
      readonly issues: readonly {
        readonly message: string;
        readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
      }[];
    };

/** A value of a data type that was named: made by calling one of {@link datatypes}. */
export interface DataValue<T = unknown> {
  /** Name of the data type on the wire, e.g. `int64`. */
  readonly typeName: string;
  /** Number of the data type. */
  readonly typeCode: number;
  /** What it was made of. */
  readonly value: T;
  /** The value in wire form. */
  toBytes(): Uint8Array<ArrayBuffer>;
}
/** For `instanceof`; values are made by {@link datatypes}. */
export const DataValue: { prototype: DataValue; [Symbol.hasInstance](value: unknown): value is DataValue };

/** A data type: call it to make a value of it. */
export interface DataType<In, Out = In> {
  /** @throws TypeError or RangeError if the type cannot hold the value */
  (value: In): DataValue<In>;
  /** Name on the wire. */
  readonly typeName: string;
  /** Number. */
  readonly typeCode: number;
  /** @throws {@link MessagingError} with code `INVALID_DATA` if the bytes are no such value */
  fromBytes(bytes: Uint8Array): Out;
}

/** A data type, its name in any case, or its number. */
export type DataTypeLike =
  | Pick<DataType<never, unknown>, "typeName" | "typeCode" | "fromBytes">
  | DataTypeName
  | Uppercase<DataTypeName>
  | number;
/** The names of the data types. */
export type DataTypeName = "json" | "string" | "int64" | "double" | "binary" | "record_v2" | "recordv2";

/** The data types. */
export const datatypes: {
  /** Whatever JSON can say, and bytes, bigints and every float. */
  readonly JSON: DataType<Value, Any>;
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
 */
export type Outcome = "not-sent" | "refused" | "failed" | "unknown";

/** What promises of {@link Messaging} and {@link Session} reject with. */
export class MessagingError extends Error {
  protected constructor();
  /** For programs: the name of the error reason, or e.g. `TIMED_OUT`; `message` is for people. */
  readonly code: string;
  /** The number of the error reason, if the other side gave one. */
  readonly reason?: number;
  /** Whether the request may have been acted on. */
  readonly outcome: Outcome;
}

/** A session filter that does not parse. */
export class InvalidFilterError extends MessagingError {
  private constructor();
  /** What is wrong where; lines count from 1, columns from 0. */
  readonly errors: readonly { message: string; line: number; column: number }[];
}

/** Thrown by a request handler that declines: the sender gets code `REJECTED_REQUEST` with this message. */
export class RejectedRequestError extends Error {
  constructor(message: string);
}

/** A session could not be opened. */
export class ConnectError extends Error {
  private constructor();
  /** For programs, e.g. `ACCESS_DENIED` or `CONNECTION_ERROR`; `message` is for people. */
  readonly code: string;
  /** Whether the same attempt can succeed later. */
  readonly retryable: boolean;
}

/**
 * Text as it has to stand between the quotes of a string in a session filter.
 *
 * @example
 * const filter = `room is '${escapeFilter(room)}'`;
 */
export function escapeFilter(text: string): string;

/** In a list of session properties: all fixed ones. */
export const ALL_FIXED_PROPERTIES: string;
/** In a list of session properties: all user-defined ones. */
export const ALL_USER_PROPERTIES: string;
/** The principal of a session that did not say who it is. */
export const ANONYMOUS: "";

// biome-ignore lint/suspicious/noExplicitAny: without a contract nothing is known about a value
type Any = any;
