// A service worker: it answers pages that fetch `/ask/PATH` with what the handler at this path answers. The browser
// ends it when it has nothing to do and starts it again when it is needed; whatever comes first opens the session.
import { answer, ask, join } from "./peer.js";

addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("message", (event) => event.waitUntil(answer(event)));
addEventListener("fetch", (event) => {
  const { pathname, searchParams } = new URL(event.request.url);
  const path = /^\/ask\/(.+)$/.exec(pathname)?.[1];
  if (path === undefined) return;
  const asked = join(searchParams.get("broker"), "service/fetch").then(() => ask(path, { fetched: true }));
  event.respondWith(asked.then(Response.json, ({ message }) => new Response(message, { status: 502 })));
});
