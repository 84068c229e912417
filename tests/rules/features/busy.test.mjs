// Rule T-5 at the client's end: handlers that take so many requests at a time, with a server that is scripted.

import assert from "node:assert/strict";
import { test } from "node:test";
import { BUSY, REGISTER, SEND_TO_PATH } from "../../support/wire.mjs";
import { soon } from "../reconnection/support.mjs";
import { fails } from "../support/client.mjs";
import { openScripted } from "./support.mjs";

const KNOWN = { features: BUSY };

test("T-5 a registration says how many requests its handler takes, and how many may wait, if it was told", async (t) => {
  for (const [options, headers] of [
    [{}, undefined],
    [{ maxConcurrent: Infinity, maxQueued: 0 }, undefined],
    [{ maxConcurrent: 4 }, { maxConcurrent: 4 }],
    [{ maxQueued: 2 }, { maxQueued: 2 }],
    [
      { maxConcurrent: 1, maxQueued: 300 },
      { maxConcurrent: 1, maxQueued: 300 },
    ],
    // More than the largest number that there is for it.
    [
      { maxConcurrent: 1e12, maxQueued: Infinity },
      { maxConcurrent: 2 ** 32 - 1, maxQueued: 2 ** 32 - 1 },
    ],
  ]) {
    for (const server of [KNOWN, {}]) {
      const { session, connection } = await openScripted(t, server);
      session.messaging.addRequestHandler("a", () => "answer", options).catch(() => {});
      const { headers: told } = await connection.next({ service: REGISTER });
      assert.deepEqual(told, server === KNOWN ? headers : undefined);
    }
  }
});

test("T-5 it says so again when it is registered again, to a server that knows of it", async (t) => {
  const script = [KNOWN, { code: 106 }, { code: 106, ...KNOWN }];
  const { server, session, connection } = await openScripted(t, script, { reconnect: soon });
  const adding = session.messaging.addRequestHandler("a", () => "answer", { maxConcurrent: 2, maxQueued: 3 });
  connection.respond(await connection.next({ service: REGISTER }), Buffer.alloc(0));
  await adding;
  connection.socket.terminate();
  const unknowing = await server.connection(1);
  const registration = await unknowing.next({ service: REGISTER });
  assert.equal(registration.headers, undefined);
  unknowing.respond(registration, Buffer.alloc(0));
  unknowing.socket.terminate();
  const knowing = await server.connection(2);
  assert.deepEqual((await knowing.next({ service: REGISTER })).headers, { maxConcurrent: 2, maxQueued: 3 });
});

test("T-5 BUSY is a refusal", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN);
  const asked = session.messaging.sendRequestToPath("a", "question");
  connection.fail(await connection.next({ service: SEND_TO_PATH }), 10001, "all are busy");
  await fails(asked, { code: "BUSY", reason: 10001, outcome: "refused", message: "all are busy" });
});
