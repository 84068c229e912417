// Rules: each operation, on each kind of path, for each kind of role, on each way in. What may be done is
// predicted by support/roles.mjs.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { BATCHING, ERROR, join, list, REQUEST, sessionId, string, text, USER_PING, varint } from "../support/wire.mjs";
import { open } from "./support/client.mjs";
import { HASH, startConfigured } from "./support/configured.mjs";
import { connectPeer } from "./support/endpoint.mjs";
import { Roles } from "./support/roles.mjs";

const [SEND, CHOOSE] = ["SEND_TO_MESSAGE_HANDLER", "SEND_TO_SESSION"];
const [REGISTER, VIEW, MODIFY] = ["REGISTER_HANDLER", "VIEW_SESSION", "MODIFY_SESSION"];

const roles = new Roles(
  {
    SENDER: { default_path: [SEND], paths: { "a/b": [] } },
    CHOOSER: { paths: { "a/b": [SEND, CHOOSE] } },
    HANDLER: { includes: ["SENDER"], global: [REGISTER], paths: { "a/b/c": [SEND] } },
    VIEWER: { global: [VIEW, REGISTER], default_path: [CHOOSE], paths: { a: [SEND] } },
    KEEPER: { includes: ["CHOOSER"], global: [MODIFY], paths: { "a/b/c": [], "a/b/secret/open": [CHOOSE] } },
  },
  ["a/b/secret"],
);

/** The roles of each principal. */
const USERS = {
  nobody: [],
  sender: ["SENDER"],
  chooser: ["CHOOSER"],
  both: ["SENDER", "CHOOSER"],
  handler: ["HANDLER"],
  viewer: ["VIEWER"],
  keeper: ["KEEPER"],
  stock: ["CLIENT_CONTROL"],
  admin: ["ADMINISTRATOR", "VIEWER"],
};

/** To which something is assigned; its parent, child, sibling; odd spellings; isolated, and open again; reserved. */
const PATHS = ["a/b", "a", "a/b/c", "a/bc", "/a/b/", "a/b/", "A/b", "a/b/secret", "/a/b/secret/open", "Diffusion/a"];

const ABSENT = "ffffffffffffffff-0000000000000001";
const filterConversation = varint(7);
const pathless = true;

/**
 * What can be asked: what it takes, its service and body, and the reason with which it fails where it is allowed. The last
 * three are at no path.
 */
const OPERATIONS = [
  { name: "send to a path", onPath: SEND, service: 85, allowed: 109, body: (path) => join(string(path), text("")) },
  {
    name: "send to a session",
    onPath: CHOOSE,
    service: 86,
    allowed: 107,
    body: (path) => join(sessionId(ABSENT), string(path), text("")),
  },
  {
    name: "send to a filter",
    onPath: CHOOSE,
    service: 102,
    body: (path) => join(filterConversation, string("$Principal is 'absent'"), string(path), text("")),
  },
  { name: "register", global: [REGISTER], service: 97, body: (path) => registration(path, []) },
  {
    name: "register with properties",
    global: [REGISTER, VIEW],
    service: 97,
    body: (path) => registration(path, ["$Principal"]),
  },
  {
    name: "view a session",
    pathless,
    global: [VIEW],
    service: 67,
    body: () => join(sessionId(ABSENT), list([string("*F")])),
  },
  { name: "close a session", pathless, global: [MODIFY], service: 14, allowed: 107, body: () => sessionId(ABSENT) },
  { name: "view oneself", pathless, service: 67, body: (_, own) => join(sessionId(own), list([string("*F")])) },
];
const registration = (path, keys) => join(deregistration(path, keys), varint(9));
const deregistration = (path, keys = []) => join(varint(88), string(""), string(path), list(keys.map(string)));

/** Each operation on each path. */
const CELLS = OPERATIONS.flatMap((operation) =>
  (operation.pathless ? [""] : PATHS).map((path) => ({ operation, path })),
);

/** The reason with which it is refused, 0 if it is not, and what the text of a refusal has to name. */
function expected({ onPath, global = [], allowed = 0 }, path, user) {
  const missing = global.filter((permission) => !roles.everywhere(USERS[user], permission));
  if (onPath && !roles.at(USERS[user], path, onPath)) missing.push(onPath);
  return missing.length > 0 ? { reason: 103, missing } : { reason: allowed, missing };
}

const broker = await startConfigured(roles.toToml(USERS, HASH));
after(() => broker.stop());

const credentials = "password";
const packed = join(Buffer.of(1), string(credentials));

/** A scripted session of a user. */
function logIn(username, query = {}) {
  return connectPeer(broker, { query: { r: 60_000, username, password: packed.toString("base64"), ...query } });
}

/** The same that began as another one, and became this user by service 5 or 203. */
async function become(user, service, before) {
  const peer = await logIn(before, { v: 29 });
  const rest = service === 203 ? list([]) : Buffer.alloc(0);
  const { body } = await peer.ask(service, join(string(user), packed, rest));
  assert.deepEqual([...body], [1], `${before} becomes ${user}`);
  return peer;
}

async function reconnected(user) {
  const peer = await logIn(user);
  await peer.cut();
  return logIn(user, { c: peer.token, cs: 1, ss: 0 });
}

/** Each way in: how to open a session of a user, and how it sends a request. */
const WAYS = {
  "as a message": [logIn, (peer, message) => peer.send(message)],
  "in a batch": [
    (user) => logIn(user, { antiphon: BATCHING }),
    (peer, message) => peer.sendBatch(ping(peer), message, ping(peer)),
  ],
  "after a reconnection": [reconnected, (peer, message) => peer.send(message)],
  "after service 5": [(user) => become(user, 5, "nobody"), (peer, message) => peer.send(message)],
  "after service 203": [(user) => become(user, 203, "nobody"), (peer, message) => peer.send(message)],
  "of one who was an administrator": [(user) => become(user, 203, "admin"), (peer, message) => peer.send(message)],
};
const ping = (peer) => ({ type: REQUEST, service: USER_PING, conversation: peer.nextConversation() });

let cells = 0;

for (const [name, [enter, send]] of Object.entries(WAYS)) {
  test(`A-1 A-2 a session may do what its roles grant, and nothing else: ${name}`, async () => {
    // One after the other, so that none of them gets what another one sends.
    for (const user of Object.keys(USERS)) {
      const peer = await enter(user);
      const ask = (service, body) => {
        const conversation = peer.nextConversation();
        send(peer, { type: REQUEST, service, conversation, body });
        return conversation;
      };
      const asked = CELLS.map(({ operation: { service, body }, path }) => {
        const conversation = ask(service, body(path, peer.id));
        if (service === 97) ask(98, deregistration(path));
        return conversation;
      });
      for (const [number, { operation, path }] of CELLS.entries()) {
        const answer = await peer.answerTo(asked[number]);
        const { reason, missing } = expected(operation, path, user);
        const said = answer.type === ERROR ? answer : { reason: 0 };
        assert.equal(said.reason, reason, `${user}: ${operation.name}, ${path}: ${said.text}`);
        for (const word of missing.length > 0 ? [...missing, path] : [])
          assert.ok(said.text.includes(word), `${said.text} does not name ${word}`);
        cells += 1;
      }
      await peer.close();
    }
  });
}

/** What the public surface has for these operations. */
const CALLS = {
  "send to a path": ({ messaging }, path) => messaging.sendRequestToPath(path, ""),
  "send to a session": ({ messaging }, path) => messaging.sendRequestToSession(path, ABSENT, ""),
  "send to a filter": ({ messaging }, path) => messaging.sendRequestToFilter("$Principal is 'absent'", path, ""),
  register: async ({ messaging }, path) => (await messaging.addRequestHandler(path, () => {})).close(),
  "register with properties": async ({ messaging }, path) => {
    const options = { sessionProperties: ["$Principal"] };
    await (await messaging.addRequestHandler(path, () => {}, options)).close();
  },
};

const DOORS = ["/diffusion", "/antiphon"];

for (const door of DOORS) {
  test(`A-1 A-2 our client may do what its roles grant, and is told what it lacks: at ${door}`, async (t) => {
    // One after the other, so that none of them gets what another one sends.
    for (const user of Object.keys(USERS)) {
      const session = await open(t, { url: new URL(door, broker.url).href }, { principal: user, credentials });
      for (const { operation, path } of CELLS) {
        const body = operation.body(path, session.id);
        const call = CALLS[operation.name] ?? (({ services }) => services.get(operation.service).invoke(body));
        const error = await Promise.resolve(call(session, path)).then(
          () => undefined,
          (error) => error,
        );
        const { reason, missing } = expected(operation, path, user);
        assert.equal(error?.reason ?? 0, reason, `${user}: ${operation.name}, ${path}: ${error}`);
        if (missing.length > 0) {
          assert.deepEqual([error.code, error.outcome], ["ACCESS_DENIED", "refused"]);
          for (const word of missing) assert.ok(error.message.includes(word), error.message);
        }
        cells += 1;
      }
    }
  });
}

test("A-1 that were all cells", (t) => {
  t.diagnostic(`${cells} cells`);
  assert.equal(cells, CELLS.length * Object.keys(USERS).length * (Object.keys(WAYS).length + DOORS.length));
  assert.ok(cells > 450);
});
