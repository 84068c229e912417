// The vocabulary of the cases: `test`, assertions, and sessions that end with their test.

import { ConnectError, connect, MessagingError } from "antiphon";

/** The broker that serves this page. */
export const BROKER = `ws://${location.host}/diffusion`;
/** Options of a session that may do all that is tested here. */
export const CONTROL = { principal: "control", credentials: "password", log: "off" };

const TIME_LIMIT = 10_000; // ms for one test
const tests = new Map();
const opened = [];

/** Adds a test, by a name that says what would be false if it failed. */
export function test(name, body) {
  if (tests.has(name)) throw new Error(`two tests have the name ${name}`);
  tests.set(name, body);
}

/** The names of all tests. */
export const names = () => [...tests.keys()];

/** Runs a test; rejects if it fails. */
export async function run(name) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done within ${TIME_LIMIT} ms`)), TIME_LIMIT);
  });
  try {
    await Promise.race([tests.get(name)(), late]);
  } finally {
    clearTimeout(timer);
    await Promise.all(opened.splice(0).map((session) => session.close()));
  }
}

/** Fails with a message unless the condition holds. */
export function ok(condition, message) {
  if (!condition) throw new Error(message);
}

/** Fails unless two values are of the same type and hold the same; -0 is not 0, and NaN is NaN. */
export function same(actual, expected, what = "") {
  ok(isSame(actual, expected), `${what && `${what}: `}${show(actual)} is not ${show(expected)}`);
}

/** Fails unless a promise rejects with a `MessagingError` of this code and outcome; gives the error. */
export async function fails(promise, code, outcome, what = "") {
  const error = await rejection(promise, what);
  ok(error instanceof MessagingError && error instanceof Error, `${what} no MessagingError: ${show(error)}`);
  same([error.code, error.outcome], [code, outcome], `${what} ${error.message}`);
  return error;
}

/** Fails unless a promise rejects with a `ConnectError` of this code; gives the error. */
export async function failsToConnect(promise, code, retryable, what = "") {
  const error = await rejection(promise, what);
  ok(error instanceof ConnectError && error instanceof Error, `${what} no ConnectError: ${show(error)}`);
  same([error.code, error.retryable], [code, retryable], `${what} ${error.message}`);
  return error;
}

/** What a promise rejects with. */
export function rejection(promise, what = "") {
  return promise.then(
    (value) => {
      throw new Error(`${what} was to reject, and resolved with ${show(value)}`);
    },
    (error) => error,
  );
}

/** What a call throws. */
export function thrown(call) {
  try {
    call();
  } catch (error) {
    return error;
  }
  throw new Error(`${call} was to throw`);
}

/** A new session, which is closed when the test is over. */
export async function open(options = CONTROL) {
  const session = await connect(BROKER, options);
  opened.push(session);
  return session;
}

/** Two sessions: one to ask, one to answer. */
export const openTwo = () => Promise.all([open(), open()]);

const thisRun = Math.random().toString(36).slice(2);
let paths = 0;

/** A message path that no other test uses. */
export function unique(name) {
  paths += 1;
  return `test/${thisRun}/${paths}/${name}`;
}

/** A promise with the function that resolves it. */
export function deferred() {
  let resolve;
  const promise = new Promise((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

/** A request handler that says with what it was called, in the promise `arrived`, and answers when it is told. */
export function gate() {
  const { promise: arrived, resolve: arrive } = deferred();
  const { promise: answered, resolve: answer } = deferred();
  const handler = (request, context) => {
    arrive({ request, context });
    return answered;
  };
  return { arrived, answer, handler };
}

/** Everything that an event of this page is about, until the listening is stopped; the browser does nothing about it. */
export function collectEvents(type, take) {
  const collected = [];
  const listener = (event) => {
    collected.push(take(event));
    event.preventDefault();
  };
  addEventListener(type, listener);
  return { collected, stop: () => removeEventListener(type, listener) };
}

function isSame(a, b) {
  if (Object.is(a, b)) return true;
  if (!isObject(a) || !isObject(b) || Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  const keys = Object.getOwnPropertyNames(a);
  const others = Object.getOwnPropertyNames(b);
  return keys.length === others.length && keys.every((key, index) => key === others[index] && isSame(a[key], b[key]));
}

function show(value) {
  if (value instanceof Error) return value.stack ?? String(value);
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "bigint") return `${value}n`;
  if (Object.is(value, -0)) return "-0";
  if (Array.isArray(value)) return `[${value.map(show).join(", ")}]`;
  if (value instanceof Uint8Array) return `bytes [${value.join(", ")}]`;
  if (!isObject(value)) return String(value);
  const members = Object.getOwnPropertyNames(value).map((key) => `${JSON.stringify(key)}: ${show(value[key])}`);
  return `{ ${members.join(", ")} }`;
}

function isObject(value) {
  return typeof value === "object" && value !== null;
}
