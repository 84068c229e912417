// Never run: typical mistakes, and what the compiler says about each. Lines that begin with `//!` are written by
// `UPDATE_MESSAGES=1 node --test tests/types`; whoever changes the types reads them as a newcomer would.

import { connect, datatypes, MessagingError, type MessagingErrorCode, type Session } from "antiphon";

interface Order {
  item: string;
  count: number;
}

interface Receipt {
  id: number;
}

interface Shop {
  "orders/eu": { request: Order; response: Receipt };
  "orders/us": { request: Order; response: Receipt };
  greetings: { request: string; response: string };
}

declare const session: Session;
declare const shop: Session<Shop>;
const { messaging } = session;

export function forgottenAwait() {
  const session = connect("ws://localhost:8080");
  return session.messaging;
  //! Property 'messaging' does not exist on type 'Promise<Session<AnyContract>>'.
}

export async function unknownOption() {
  await connect("ws://localhost:8080", { principle: "ada" });
  //! Object literal may only specify known properties, but 'principle' does not exist in type 'ConnectOptions<AnyContract>'. Did you mean to write 'principal'?
  await connect("ws://localhost:8080", { timeout: 5000 });
  //! Object literal may only specify known properties, and 'timeout' does not exist in type 'ConnectOptions<AnyContract>'.
  await messaging.sendRequestToPath("prices", "tea", { timeuot: 5000 });
  //! Object literal may only specify known properties, but 'timeuot' does not exist in type 'RequestOptions'. Did you mean to write 'timeout'?
  await messaging.addRequestHandler("prices", () => 5, { maxConcurrency: 4 });
  //! Object literal may only specify known properties, but 'maxConcurrency' does not exist in type 'HandlerOptions'. Did you mean to write 'maxConcurrent'?
}

export function optionOfAnotherOperation() {
  messaging.addStreamHandler("prices", () => 5, { sessionProperties: ["$Principal"] });
  //! Object literal may only specify known properties, and 'sessionProperties' does not exist in type 'StreamOptions'.
}

export async function whatCannotBeSent() {
  await messaging.sendRequestToPath("prices", () => "tea");
  //! Argument of type '() => string' is not assignable to parameter of type 'Value'.
  await messaging.sendRequestToPath("prices", Symbol("tea"));
  //! Argument of type 'symbol' is not assignable to parameter of type 'Value'.
  await messaging.sendRequestToPath("prices", datatypes.STRING);
  //! Argument of type 'DataType<string | null | undefined, string | null>' is not assignable to parameter of type 'Value'.
  //!   Type 'DataType<string | null | undefined, string | null>' is not assignable to type '{ [key: string]: unknown; }'.
  //!     Index signature for type 'string' is missing in type 'DataType<string | null | undefined, string | null>'.
}

export async function responseWithoutType() {
  const price = await messaging.sendRequestToPath("prices", "tea");
  return price.toFixed(2);
  //! 'price' is of type 'unknown'.
}

export async function unknownDataType() {
  await messaging.sendRequestToPath("prices", 5, { type: "int32" });
  //! Type '"int32"' is not assignable to type 'DataTypeLike | undefined'.
}

export async function pathThatIsNotInTheContract() {
  await shop.messaging.sendRequestToPath("order/eu", { item: "tea", count: 1 });
  //! Argument of type '"order/eu"' is not assignable to parameter of type '"orders/eu" | "orders/us" | "greetings"'.
  await shop.messaging.addRequestHandler("billing", () => 5);
  //! Argument of type '"billing"' is not assignable to parameter of type '"orders/eu" | "orders/us" | "greetings" | "orders"'.
}

export async function requestThatIsNotInTheContract() {
  await shop.messaging.sendRequestToPath("orders/eu", { item: "tea" });
  //! Argument of type '{ item: string; }' is not assignable to parameter of type 'Order'.
  //!   Property 'count' is missing in type '{ item: string; }' but required in type 'Order'.
  await shop.messaging.sendRequestToSession("greetings", session.id, 5);
  //! Argument of type 'number' is not assignable to parameter of type 'string'.
}

export async function responseThatIsNotInTheContract() {
  const order: string = await shop.messaging.sendRequestToPath("orders/eu", { item: "tea", count: 1 });
  //! Type 'Receipt' is not assignable to type 'string'.
  await shop.messaging.addRequestHandler("greetings", (name) => name.length);
  //! Argument of type '(name: string) => number' is not assignable to parameter of type 'RequestHandler<string, string>'.
  //!   Type '(name: string) => number' is not assignable to type '(request: string, context: RequestContext) => string | Promise<string>'.
  //!     Type 'number' is not assignable to type 'string | Promise<string>'.
  await shop.messaging.addRequestHandler("orders", async ({ item }) => ({ number: item.length }));
  //! Argument of type '({ item }: Order) => Promise<{ number: number; }>' is not assignable to parameter of type 'RequestHandler<Order, Receipt>'.
  //!   Type '({ item }: Order) => Promise<{ number: number; }>' is not assignable to type '(request: Order, context: RequestContext) => Receipt | Promise<Receipt>'.
  //!     Type 'Promise<{ number: number; }>' is not assignable to type 'Receipt | Promise<Receipt>'.
  //!       Type 'Promise<{ number: number; }>' is not assignable to type 'Promise<Receipt>'.
  //!         Property 'id' is missing in type '{ number: number; }' but required in type 'Receipt'.
  return order;
}

export function unknownEvent() {
  session.on("disconnected", () => {});
  //! Argument of type '"disconnected"' is not assignable to parameter of type '"statechange" | "close" | "disconnect" | "reconnect" | "messageloss"'.
}

export function unknownCode(error: unknown) {
  if (!(error instanceof MessagingError)) throw error;
  const code = error.code as MessagingErrorCode;
  return code === "TIMEOUT";
  //! This comparison appears to be unintentional because the types 'MessagingErrorCode' and '"TIMEOUT"' have no overlap.
}

export function sessionOfAnotherContract(): Session<{ prices: { request: string; response: number } }> {
  return shop;
  //! Type 'Session<Shop>' is not assignable to type 'Session<{ prices: { request: string; response: number; }; }>'.
  //!   The types of 'messaging[contract]' are incompatible between these types.
  //!     Property 'prices' is missing in type '{ "orders/eu": { request: Order; response: Receipt; }; "orders/us": { request: Order; response: Receipt; }; greetings: { request: string; response: string; }; }' but required in type '{ prices: { request: string; response: number; }; }'.
}
