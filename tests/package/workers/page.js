// Starts one kind of worker, named in the query, and passes on what a test tells it.

// Under `require-trusted-types-for 'script'` the address of a worker has to come through a policy of the page.
const policy = globalThis.trustedTypes?.createPolicy("workers", { createScriptURL: (path) => path });
const trusted = (path) => policy?.createScriptURL(path) ?? path;

const starting = {
  async page() {
    const { answer } = await import("./peer.js");
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = answer;
    return port2;
  },
  dedicated: () => new Worker(trusted("dedicated.js"), { type: "module" }),
  classic: () => new Worker(trusted("classic.js")),
  shared() {
    const worker = new SharedWorker(trusted("shared.js"), { type: "module" });
    return Object.assign(worker.port, { worker });
  },
  async service() {
    const { serviceWorker } = navigator;
    await serviceWorker.register(trusted("service.js"), { type: "module" });
    const { active } = await serviceWorker.ready;
    // From then on it is asked what this page fetches.
    if (!serviceWorker.controller) {
      await new Promise((resolve) => serviceWorker.addEventListener("controllerchange", resolve, { once: true }));
    }
    return active;
  },
};

const peer = await starting[new URLSearchParams(location.search).get("in")]();

/** Tells the worker something; gives what it answers, `{ value }` or `{ error }`. */
globalThis.tell = (...command) =>
  new Promise((resolve, reject) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data }) => resolve(data);
    (peer.worker ?? peer).onerror = ({ message }) => reject(new Error(message ?? "the worker did not load"));
    peer.postMessage(command, [port2]);
  });
globalThis.terminate = () => peer.terminate();
