// Never run: what has to compile against the shipped types, and what must not.

import type { StandardSchemaV1 as TheirSchema } from "@standard-schema/spec";
import {
  ALL_FIXED_PROPERTIES,
  ANONYMOUS,
  type CloseCode,
  type CloseInfo,
  ConnectError,
  type ConnectErrorCode,
  connect,
  DataValue,
  datatypes,
  escapeFilter,
  type FilterRegistration,
  type FilterResponse,
  type InspectedMessage,
  InvalidFilterError,
  init,
  type Messaging,
  MessagingError,
  type MessagingErrorCode,
  type Outcome,
  type PathOf,
  type Registration,
  RejectedRequestError,
  type RequestContext,
  RequestHandler,
  type RequestOf,
  type ResponseOf,
  type Service,
  type Session,
  type SessionState,
  type StandardSchemaV1,
} from "antiphon";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(_: Equal<A, B>) {}

export async function withoutContract(signal: AbortSignal) {
  await init(new URL("antiphon.wasm", "https://example.com"));
  const session = await connect("ws://localhost:8080", {
    principal: "ada",
    credentials: async () => new Uint8Array(4),
    properties: { $Country: "GB" },
    requestTimeout: 1000,
    webSocket: WebSocket,
    reconnect: { timeout: 10_000, delay: (attempt) => attempt * 100 },
    signal,
  });
  await connect("ws://localhost:8080", { reconnect: false });
  // @ts-expect-error: only what is said about it
  await connect("ws://localhost:8080", { reconnect: { retries: 5 } });
  session.on("reconnect", ({ lossless, newSession }) => same<typeof lossless | typeof newSession, boolean>(true));
  session.on("messageloss", ({ requests, handlers }) => same<typeof requests | typeof handlers, number>(true));
  session.on("statechange", ({ to }) => same<typeof to, SessionState>(true));
  session.on("close", (info) => same<typeof info, CloseInfo>(true))();
  // @ts-expect-error: there is no such event
  session.on("open", () => {});
  // @ts-expect-error: the session's, not ours, to change
  session.id = ANONYMOUS;

  const registration: Registration = await session.messaging.addRequestHandler(
    "prices",
    async (request, context) => {
      same<typeof context, RequestContext>(true);
      if (context.sessionProperties.$Country !== "GB") throw new RejectedRequestError("not here");
      return { price: request.item * 2 };
    },
    { sessionProperties: [ALL_FIXED_PROPERTIES], requestType: "JSON" },
  );
  await session.messaging.addRequestHandler("objects", { handle: (event, { request }) => `${event} ${request}` });
  await registration.close();

  const price = await session.messaging.sendRequestToPath<number>("prices/eu", { item: 17 }, { timeout: 5000, signal });
  same<typeof price, number>(true);
  const name = await session.messaging.sendRequestToPath<string>("names/eu", 17);
  same<typeof name, string>(true);
  const text = await session.messaging.sendRequestToPath<string>("names/eu", { country: "eu" });
  same<typeof text, string>(true);
  const something = await session.messaging.sendRequestToPath("names/eu", 17);
  same<typeof something, unknown>(true);
  const stop: () => void = session.inspect((message) => same<typeof message, InspectedMessage>(true), { values: true });
  stop();
  await session.messaging.sendRequestToPath("counts", datatypes.INT64(5n), { responseType: datatypes.DOUBLE });
  for (const type of ["int64", "Int64", "INT64", "Record_V2", "recordV2"] as const) {
    await session.messaging.sendRequestToPath("counts", 5, { type, timeout: 0 });
  }
  // @ts-expect-error: there is no such data type
  await session.messaging.sendRequestToPath("counts", 5, { type: "int32" });
  // @ts-expect-error: an int64 is no text
  datatypes.INT64("5");
  const made = datatypes.INT64(5).value;
  same<typeof made, bigint | null>(true);
  const read = datatypes.INT64.fromBytes(new Uint8Array(1));
  same<typeof read, bigint | null>(true);
  await session.close();
}

interface Shop {
  "orders/eu": { request: { item: string }; response: { id: number } };
  "orders/us": { request: { item: string }; response: { id: number } };
  greetings: { request: string; response: string };
}

export async function withContract() {
  const { messaging } = await connect<Shop>("ws://localhost:8080");
  const greeting = await messaging.sendRequestToPath("greetings", "Ada");
  same<typeof greeting, string>(true);
  const order = await messaging.sendRequestToPath("orders/eu", { item: "tea" });
  same<typeof order, { id: number }>(true);
  // @ts-expect-error: not a request of this path
  await messaging.sendRequestToPath("greetings", 17);
  // @ts-expect-error: not a path of the contract
  await messaging.sendRequestToPath("orders", { item: "tea" });

  await messaging.addRequestHandler("orders", ({ item }) => ({ id: item.length }));
  // @ts-expect-error: not a response of this path
  await messaging.addRequestHandler("greetings", (name) => name.length);
  // @ts-expect-error: serves no path of the contract
  await messaging.addRequestHandler("billing", () => undefined);
}

export async function contractEverywhere(shop: Session<Shop>) {
  const { messaging } = shop;
  const order = await messaging.sendRequestToSession("orders/eu", "0-1", { item: "tea" }, { timeout: 10 });
  same<typeof order, { id: number }>(true);
  // @ts-expect-error: not a request of this path
  await messaging.sendRequestToSession("greetings", "0-1", 17);
  // @ts-expect-error: not a path of the contract
  await messaging.sendRequestToSession("orders", "0-1", { item: "tea" });
  const onResponse = ({ value }: FilterResponse<string>) => value?.length;
  await messaging.sendRequestToFilter("all", "greetings", "Ada", {
    onResponse: ({ value }) => same<typeof value, string | undefined>(true),
  });
  await messaging.sendRequestToFilter("all", "greetings", "Ada", { onResponse });
  // @ts-expect-error: these are no texts
  await messaging.sendRequestToFilter("all", "orders/eu", { item: "tea" }, { onResponse });
  // @ts-expect-error: not a request of this path
  await messaging.sendRequestToFilter("all", "greetings", 17);
  for await (const { value } of messaging.gather("all", "orders/us", { item: "tea" })) {
    same<typeof value, { id: number } | undefined>(true);
  }
  // @ts-expect-error: not a path of the contract
  messaging.gather("all", "billing", { item: "tea" });
  messaging.addStreamHandler("greetings", (name) => name.toUpperCase());
  // @ts-expect-error: not a response of this path
  messaging.addStreamHandler("greetings", (name) => name.length);
  // @ts-expect-error: a stream answers at exactly its path
  messaging.addStreamHandler("orders", ({ item }) => ({ id: item.length }));
}

/** A function of an application's own over its contract. */
export function ask<P extends PathOf<Shop>>(
  shop: Session<Shop>,
  path: P,
  request: RequestOf<Shop, P>,
): Promise<ResponseOf<Shop, P>> {
  return shop.messaging.sendRequestToPath(path, request);
}

interface Greetings {
  greetings: { request: string; response: string };
}

export function sessions(shop: Session<Shop>, stock: Session<Stock>, any: Session): unknown[] {
  const plain: Session[] = [shop, stock];
  const messaging: Messaging[] = [shop.messaging, stock.messaging];
  const fewer: Session<Greetings> = shop;
  // @ts-expect-error: another contract
  const other: Session<Stock> = shop;
  // @ts-expect-error: nothing is known of its paths
  const known: Session<Shop> = any;
  return [plain, messaging, fewer, other, known];
}

export async function whatCanBeSent(messaging: Messaging, object: object, map: Map<string, number>) {
  class Point {
    #secret = 1;
    x = this.#secret;
  }
  const named: { readonly call: string } = { call: "a member that functions have as well" };
  const values = [object, map, named, new Point(), { nested: [1, { deeper: "x" }] }, undefined, datatypes.INT64(5)];
  for (const value of values) await messaging.sendRequestToPath("any", value);
  // @ts-expect-error: a function
  await messaging.sendRequestToPath("any", () => 1);
  // @ts-expect-error: a class
  await messaging.sendRequestToPath("any", Point);
  // @ts-expect-error: a symbol
  await messaging.sendRequestToPath("any", Symbol());
  // @ts-expect-error: a function
  await messaging.sendRequestToSession("any", "0-1", () => 1);
  // @ts-expect-error: a function
  await messaging.sendRequestToFilter("all", "any", () => 1);
  // @ts-expect-error: a function
  messaging.gather("all", "any", () => 1);
  // @ts-expect-error: a function
  datatypes.JSON(() => 1);
}

export function errors(error: unknown) {
  if (error instanceof InvalidFilterError) same<typeof error.errors, InvalidFilterError["errors"]>(true);
  if (error instanceof MessagingError) same<typeof error.outcome, Outcome>(true);
  if (error instanceof ConnectError) same<typeof error.retryable, boolean>(true);
  if (error instanceof InvalidFilterError) same<typeof error.code, "INVALID_FILTER">(true);
  if (error instanceof MessagingError || error instanceof ConnectError || error instanceof RejectedRequestError) {
    same<typeof error.cause, unknown>(true);
  }
  if (error instanceof MessagingError || error instanceof RejectedRequestError) {
    same<typeof error.details, unknown>(true);
  }
  new RejectedRequestError("sold out", { details: { left: 0 }, cause: error });
  // @ts-expect-error: made by this package only
  new MessagingError("TIMED_OUT", "too late", "unknown");
}

export function codes(error: MessagingError, refused: ConnectError, { code }: CloseInfo) {
  const known: MessagingErrorCode[] = ["TIMED_OUT", "UNHANDLED_MESSAGE", "REASON_4711"];
  // One that a later version has.
  if (error.code === "BRAND_NEW") known.push("INTERNAL");
  // @ts-expect-error: there is no such code
  if (known[0] === "TIMEOUT") return;
  // @ts-expect-error: there is no such code
  if ((refused.code as ConnectErrorCode) === "TIMED_OUT") return;
  // @ts-expect-error: there is no such code
  if ((code as CloseCode) === "CLOSED") return;
}

export function values(value: unknown) {
  if (value instanceof DataValue) same<typeof value.typeName, string>(true);
  // @ts-expect-error: made by datatypes
  new DataValue();
}

/** A path, or a template that stands for many. */
interface Stock {
  [path: `stock/${string}`]: { request: string; response: number };
  totals: { request: null; response: bigint };
}

export async function withTemplates() {
  const { messaging } = await connect<Stock>("ws://localhost:8080");
  const left = await messaging.sendRequestToPath("stock/tea", "green");
  same<typeof left, number>(true);
  const total = await messaging.sendRequestToPath("totals", null);
  same<typeof total, bigint>(true);
  // @ts-expect-error: a path of the template takes text
  await messaging.sendRequestToPath("stock/tea", 5);
  // @ts-expect-error: not of the template
  await messaging.sendRequestToPath("shelves/tea", "green");
  await messaging.addRequestHandler("stock/tea", (kind) => kind.length);
  // @ts-expect-error: a number is the response of the template
  await messaging.addRequestHandler("stock/tea", (kind) => kind);
}

export async function withSchemas(item: StandardSchemaV1<{ name: string }>, price: StandardSchemaV1<string, number>) {
  const contract = { prices: { request: item, response: price } };
  const { messaging } = await connect("ws://localhost:8080", { contract });
  const answer = await messaging.sendRequestToPath("prices", { name: "tea" });
  same<typeof answer, number>(true);
  // @ts-expect-error: not what the schema of the request gives
  await messaging.sendRequestToPath("prices", { title: "tea" });
  await messaging.addRequestHandler("prices", ({ name }) => name.length);
  // @ts-expect-error: a contract has no such path
  await messaging.addRequestHandler("costs", () => 1);
}

export async function addressed(messaging: Messaging) {
  const status = await messaging.sendRequestToSession<{ idle: boolean }>("status", "0-1", null, { timeout: 10 });
  same<typeof status, { idle: boolean }>(true);
  const unknownAnswer = await messaging.sendRequestToSession("status", "0-1", null);
  same<typeof unknownAnswer, unknown>(true);
  const count = await messaging.sendRequestToFilter("all", "status", null, {
    onResponse: (response) => same<typeof response, FilterResponse>(true),
    whenDisconnected: "fail",
  });
  same<typeof count, number>(true);
  // @ts-expect-error: a filter response handler is called
  await messaging.sendRequestToFilter("all", "status", null, { onResponse: 5 });

  const stream: Registration = messaging.addStreamHandler(
    "status",
    (request, context) => {
      same<typeof context.senderSessionId, string | undefined>(true);
      return request;
    },
    { addressed: true, maxConcurrent: 4 },
  );
  // @ts-expect-error: a stream is local, and no properties come with its requests
  messaging.addStreamHandler("status", () => 1, { sessionProperties: ["team"] });
  await stream.close();
  const handler: FilterRegistration = messaging.addFilterResponseHandler("all", {
    handle: (event, { error }) =>
      same<typeof event | typeof error, "response" | "error" | MessagingError | undefined>(true),
  });
  handler.close();

  const gathering = messaging.gather<number>(`room is '${escapeFilter("it's")}'`, "status", null, { atLeast: 2 });
  same<typeof gathering.expected, Promise<number>>(true);
  for await (const { sessionId, value } of gathering) {
    same<typeof sessionId, string>(true);
    same<typeof value, number | undefined>(true);
  }
}

export async function services(session: Session) {
  const body: Uint8Array = await session.services.USER_PING.invoke(new Uint8Array());
  const found = session.messaging.services.get(56);
  same<typeof found, Service | undefined>(true);
  for (const service of session.services) same<typeof service, Service>(true);
  return body;
}

export async function handlerObjects(messaging: Messaging) {
  const handler = new RequestHandler((request, { path }) => `${path} ${request}`, { requestType: "string" });
  await messaging.addRequestHandler("objects", handler);
  const typed: RequestHandler<string, number> = (text) => text.length;
  messaging.addStreamHandler("typed", typed);
  const Registered = RequestHandler.register(class Custom {});
  same<InstanceType<typeof Registered> extends object ? true : false, true>(true);
  // @ts-expect-error: it needs a function
  new RequestHandler("request");
}

/** Schemas of the libraries fit ours, and the other way round. */
export function schemas(theirs: TheirSchema<string, number>, ours: StandardSchemaV1<string, number>) {
  const one: StandardSchemaV1<string, number> = theirs;
  const other: TheirSchema<string, number> = ours;
  return [one, other];
}
