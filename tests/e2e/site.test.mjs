// What the broker says about the files of `--www`, to a client that may know them already.

import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { after, test } from "node:test";
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { startBroker } from "../support/broker.mjs";

const TEXT = "export const again = 'and again';\n".repeat(500);

const folder = mkdtempSync(join(tmpdir(), "antiphon-site-"));
after(() => rmSync(folder, { recursive: true }));
writeFileSync(join(folder, "app.js"), TEXT);
writeFileSync(join(folder, "app-B3xk9Q2f.js"), TEXT);
writeFileSync(join(folder, "tiny.txt"), "tiny");
const broker = await startBroker(["--www", folder]);
after(() => broker.stop());

/** What is answered as it comes, decompressed by nobody. */
async function get(path, headers = {}, method = "GET") {
  const [response] = await once(request(new URL(path, broker.httpUrl), { headers, method }).end(), "response");
  return { status: response.statusCode, headers: response.headers, body: await buffer(response) };
}

test("a file comes in the smallest encoding that the client takes, each with a tag of its own", async () => {
  const plain = await get("/app.js");
  const gzip = await get("/app.js", { "accept-encoding": "deflate, gzip" });
  const brotli = await get("/app.js", { "accept-encoding": "gzip, deflate, br" });
  assert.equal(plain.headers["content-encoding"], undefined);
  assert.equal(gzip.headers["content-encoding"], "gzip");
  assert.equal(brotli.headers["content-encoding"], "br");
  assert.equal(String(plain.body), TEXT);
  assert.equal(String(gunzipSync(gzip.body)), TEXT);
  assert.equal(String(brotliDecompressSync(brotli.body)), TEXT);
  for (const { headers, body } of [plain, gzip, brotli]) {
    assert.equal(headers.vary, "accept-encoding");
    assert.equal(headers["content-type"], "text/javascript; charset=utf-8");
    assert.equal(headers["content-length"], String(body.length));
    assert.match(headers.etag, /^"[0-9a-f]{16}"$/);
  }
  assert.equal(new Set([plain, gzip, brotli].map(({ headers }) => headers.etag)).size, 3);

  const tiny = await get("/tiny.txt", { "accept-encoding": "gzip, br" });
  assert.deepEqual(
    [tiny.headers["content-encoding"], tiny.headers.vary, String(tiny.body)],
    [undefined, undefined, "tiny"],
  );
});

test("who has a file already is told so, by the tag of the encoding that it would get", async () => {
  const { headers } = await get("/app.js", { "accept-encoding": "br" });
  const same = await get("/app.js", { "accept-encoding": "br", "if-none-match": `"0", ${headers.etag}` });
  assert.deepEqual([same.status, same.body.length, same.headers["content-encoding"]], [304, 0, undefined]);
  for (const kept of ["etag", "vary", "cache-control"]) assert.equal(same.headers[kept], headers[kept], kept);
  assert.equal((await get("/app.js", { "if-none-match": headers.etag })).status, 200);
});

test("a file with a hash in its name is kept for ever, any other one is asked for again", async () => {
  assert.equal((await get("/app-B3xk9Q2f.js")).headers["cache-control"], "public, max-age=31536000, immutable");
  assert.equal((await get("/app.js")).headers["cache-control"], "no-cache");
});

test("whatever is answered, browsers are told how it may be used: in no frame, as no other type, with no trace (V28)", async () => {
  const paths = ["/app.js", "/tiny.txt", "/nothing", "/diffusion", "/diffusion/close"];
  const answers = [...(await Promise.all(paths.map((path) => get(path)))), await get("/app.js", {}, "POST")];
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 200, 404, 400, 405, 405],
  );
  const { etag } = answers[0].headers;
  for (const { status, headers } of [...answers, await get("/app.js", { "if-none-match": etag })]) {
    assert.equal(headers["content-security-policy"], "frame-ancestors 'self'", status);
    assert.equal(headers["x-content-type-options"], "nosniff", status);
    assert.equal(headers["referrer-policy"], "same-origin", status);
    assert.equal(headers["strict-transport-security"], undefined, "not without TLS");
  }
});

test("HEAD says what GET would say, without the file", async () => {
  const asked = { "accept-encoding": "gzip" };
  const [got, head] = [await get("/app.js", asked), await get("/app.js", asked, "HEAD")];
  assert.deepEqual({ ...head.headers, date: "" }, { ...got.headers, date: "" });
  assert.deepEqual([head.status, head.body.length], [200, 0]);
  assert.equal((await get("/app.js", {}, "POST")).status, 405);
});
