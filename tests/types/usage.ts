// Never run: it says what has to compile against the shipped types, and what must not.

import {
  ALL_FIXED_PROPERTIES,
  ANONYMOUS,
  type CloseInfo,
  ConnectError,
  connect,
  DataValue,
  datatypes,
  InvalidFilterError,
  init,
  MessagingError,
  type Outcome,
  type Registration,
  RejectedRequestError,
  type RequestContext,
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
    signal,
  });
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
  await session.messaging.sendRequestToPath("counts", datatypes.INT64(5n), { responseType: datatypes.DOUBLE });
  // @ts-expect-error: there is no such data type
  await session.messaging.sendRequestToPath("counts", 5, { type: "int32" });
  // @ts-expect-error: an int64 is no text
  datatypes.INT64("5");
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

export function errors(error: unknown) {
  if (error instanceof InvalidFilterError) same<typeof error.errors, InvalidFilterError["errors"]>(true);
  if (error instanceof MessagingError) same<typeof error.outcome, Outcome>(true);
  if (error instanceof ConnectError) same<typeof error.retryable, boolean>(true);
  // @ts-expect-error: made by this package only
  new MessagingError("TIMED_OUT", "too late", "unknown");
}

export function values(value: unknown) {
  if (value instanceof DataValue) same<typeof value.typeName, string>(true);
  // @ts-expect-error: made by datatypes
  new DataValue();
}
