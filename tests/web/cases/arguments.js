// Unusable arguments reject; nothing throws.

import { connect } from "antiphon";
import { BROKER, fails, failsToConnect, ok, open, rejection, same, test, unique } from "../support.js";

/**
 * Each of the calls gives a promise that rejects with `INVALID_ARGUMENT`; nothing is sent, nothing throws, and the session
 * is none the worse.
 */
async function areRefused(list) {
  const session = await open();
  const { messaging } = session;
  const path = unique("refused");
  let asked = 0;
  await messaging.addRequestHandler(path, () => ++asked);
  for (const call of list({ session, messaging, path, f: () => "f" })) {
    const error = await fails(call(), "INVALID_ARGUMENT", "not-sent", String(call));
    ok(error.message !== "", `${call}: an error without a message`);
  }
  same(await messaging.sendRequestToPath(path, null), 1);
}

test("a path that is no text is refused", () =>
  areRefused(({ messaging, path, f }) => [
    () => messaging.sendRequestToPath(),
    () => messaging.sendRequestToPath(undefined, 1),
    () => messaging.sendRequestToPath(null, 1),
    () => messaging.sendRequestToPath(5, 1),
    () => messaging.sendRequestToPath({}, 1),
    () => messaging.sendRequestToPath(["a"], 1),
    () => messaging.sendRequestToPath({ toString: () => path }, 1),
    () => messaging.sendRequestToPath(Symbol("a"), 1),
    () => messaging.addRequestHandler(undefined, f),
    () => messaging.addRequestHandler(5, f),
    () => messaging.addRequestHandler({}, f),
  ]));

test("a path with half a surrogate pair is refused", () =>
  areRefused(({ messaging, f }) => [
    () => messaging.sendRequestToPath("a\ud800", 1),
    () => messaging.sendRequestToPath("\udc00", 1),
    () => messaging.sendRequestToPath("\ufffd\udc00\ud800", 1),
    () => messaging.addRequestHandler("a\ud800", f),
  ]));

test("options of a request that cannot be used are refused", () =>
  areRefused(({ messaging, path }) => [
    () => messaging.sendRequestToPath(path, 1, 5),
    () => messaging.sendRequestToPath(path, 1, "json"),
    () => messaging.sendRequestToPath(path, 1, true),
    () => messaging.sendRequestToPath(path, 1, { timeout: "soon" }),
    () => messaging.sendRequestToPath(path, 1, { timeout: "50" }),
    () => messaging.sendRequestToPath(path, 1, { timeout: -1 }),
    () => messaging.sendRequestToPath(path, 1, { timeout: Number.NaN }),
    () => messaging.sendRequestToPath(path, 1, { timeout: {} }),
    () => messaging.sendRequestToPath(path, 1, { timeout: 50n }),
    () => messaging.sendRequestToPath(path, 1, { signal: {} }),
    () => messaging.sendRequestToPath(path, 1, { signal: true }),
    () => messaging.sendRequestToPath(path, 1, { signal: new AbortController() }),
  ]));

test("unknown data types are refused", () =>
  areRefused(({ messaging, path, f }) =>
    ["nope", "", 0, 13, 16, 99, 14.5, Number.NaN, {}, [], () => {}, Symbol("s"), 5n].flatMap((type) => [
      () => messaging.sendRequestToPath(path, 1, { type }),
      () => messaging.sendRequestToPath(path, 1, { responseType: type }),
      () => messaging.addRequestHandler(`${path}/x`, f, { requestType: type }),
      () => messaging.addRequestHandler(`${path}/x`, f, { responseType: type }),
    ]),
  ));

test("a handler that cannot be called is refused", () =>
  areRefused(({ messaging, path, f }) => [
    () => messaging.addRequestHandler(`${path}/x`),
    () => messaging.addRequestHandler(`${path}/x`, null),
    () => messaging.addRequestHandler(`${path}/x`, 5),
    () => messaging.addRequestHandler(`${path}/x`, "f"),
    () => messaging.addRequestHandler(`${path}/x`, {}),
    () => messaging.addRequestHandler(`${path}/x`, { handle: 5 }),
    () => messaging.addRequestHandler(`${path}/x`, [f]),
  ]));

test("options of a handler that cannot be used are refused", () =>
  areRefused(({ messaging, path, f }) => [
    () => messaging.addRequestHandler(`${path}/x`, f, 5),
    () => messaging.addRequestHandler(`${path}/x`, f, { sessionProperties: "$Principal" }),
    () => messaging.addRequestHandler(`${path}/x`, f, { sessionProperties: 5 }),
    () => messaging.addRequestHandler(`${path}/x`, f, { sessionProperties: [5] }),
    () => messaging.addRequestHandler(`${path}/x`, f, { sessionProperties: [null] }),
    () => messaging.addRequestHandler(`${path}/x`, f, { sessionProperties: {} }),
  ]));

test("property keys and principals that cannot be used are refused", () =>
  areRefused(({ session }) => [
    () => session.getProperties("$Principal"),
    () => session.getProperties(5),
    () => session.getProperties([5]),
    () => session.getProperties({}),
    () => session.changePrincipal(),
    () => session.changePrincipal(5, "password"),
    () => session.changePrincipal("client", 5),
    () => session.changePrincipal("client", {}),
    () => session.changePrincipal("a\ud800", "password"),
  ]));

const fail = () => {
  throw new Error("kaputt");
};
const hostile = new Proxy({}, { get: fail, has: fail, ownKeys: fail, getPrototypeOf: fail });
/** An object with a member that throws when it is read. */
const trap = (member) => Object.defineProperty({}, member, { get: fail, enumerable: true });

test("arguments that throw when looked at reject and do not throw", async () => {
  const { messaging } = await open();
  const path = unique("hostile");
  await messaging.addRequestHandler(path, (request) => request);
  const below = `${path}/x`;
  const f = () => 1;
  const calls = {
    "a path to ask": () => messaging.sendRequestToPath(hostile, 1),
    "a request": () => messaging.sendRequestToPath(path, hostile),
    "options of a request": () => messaging.sendRequestToPath(path, 1, hostile),
    "a path to answer": () => messaging.addRequestHandler(hostile, f),
    "a handler": () => messaging.addRequestHandler(below, hostile),
    "a handler's function": () => messaging.addRequestHandler(below, trap("handle")),
    "options of a handler": () => messaging.addRequestHandler(below, f, hostile),
  };
  for (const option of ["timeout", "type", "responseType", "signal"]) {
    calls[`a trap for a request's ${option}`] = () => messaging.sendRequestToPath(path, 1, trap(option));
    calls[`a request's ${option}`] = () => messaging.sendRequestToPath(path, 1, { [option]: hostile });
  }
  for (const option of ["sessionProperties", "requestType", "responseType"]) {
    calls[`a trap for a handler's ${option}`] = () => messaging.addRequestHandler(below, f, trap(option));
    calls[`a handler's ${option}`] = () => messaging.addRequestHandler(below, f, { [option]: hostile });
  }
  for (const [what, call] of Object.entries(calls)) {
    const { code } = await rejection(call(), what);
    ok(["INVALID_ARGUMENT", "INVALID_DATA"].includes(code), `${what} rejects with ${code}`);
  }
  same(await messaging.sendRequestToPath(path, 1), 1);
});

test("null and members without a value are no options, unknown members are wrong ones", async () => {
  const { messaging } = await open();
  const path = unique("options");
  await messaging.addRequestHandler(path, (request) => request, null);
  for (const options of [null, {}, { timeout: undefined, signal: undefined, type: undefined }]) {
    same(await messaging.sendRequestToPath(path, 1, options), 1);
  }
  const { code, message } = await rejection(messaging.sendRequestToPath(path, 1, { timeuot: 1 }), "timeuot");
  same([code, message], ["INVALID_ARGUMENT", "there is no option timeuot; did you mean timeout?"]);
});

test("a url that is none rejects with invalid url", async () => {
  const urls = [undefined, null, 5, {}, "", "nonsense", "//127.0.0.1:8080", "ws://", "ftp://127.0.0.1"];
  for (const url of [...urls, "ws://127.0.0.1:99999", "ws://ada:secret@127.0.0.1"]) {
    await failsToConnect(connect(url), "INVALID_URL", false, String(url));
  }
});

test("options of connect that cannot be used reject with invalid argument", async () => {
  for (const options of [
    5,
    "control",
    { principal: 5 },
    { connectTimeout: "soon" },
    { connectTimeout: -1 },
    { requestTimeout: Number.NaN },
    { maxMessageSize: 5 },
    { maxMessageSize: "large" },
    { properties: { floor: 3 } },
    { properties: "team=blue" },
    { protocolVersion: 21 },
    { protocolVersion: 30 },
    { protocolVersion: 25.5 },
    { signal: {} },
    { webSocket: {} },
    { log: "loud" },
  ]) {
    await failsToConnect(connect(BROKER, options), "INVALID_ARGUMENT", false, JSON.stringify(options));
  }
});

test("options of connect that throw when looked at reject with invalid argument", async () => {
  for (const option of ["principal", "credentials", "properties", "connectTimeout", "signal", "webSocket"]) {
    await failsToConnect(connect(BROKER, trap(option)), "INVALID_ARGUMENT", false, option);
  }
});
