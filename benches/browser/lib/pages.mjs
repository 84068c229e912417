// Two pages with a client each: one handles requests, the other one makes them.

import { cpuOf } from "./processes.mjs";

/** Opens them on a system whose server runs. */
export async function openPages({ browser, site, name, system, server }) {
  const script = `/${name}/client.js`;
  const handlerOptions = { role: "handler", session: system.session };
  const requesterOptions = { role: "requester", session: system.session };
  const handler = await browser.newPage(site);
  const requester = await browser.newPage(site);
  const close = () => Promise.all([handler.close(), requester.close()]);
  try {
    await handler.run("bench.open", script, server.url, handlerOptions);
    await handler.run("bench.driver.echo.bind(bench.driver)", "bench/echo");
    await requester.run("bench.open", script, server.url, requesterOptions);
    let processes; // looked for when they are first asked about: that takes most of a second
    return {
      requester,
      handler,
      script,
      url: server.url,
      requesterOptions,
      /** Of the processes that take part, in ms. */
      processorTimes: async () => {
        processes ??= await processesOf(browser, { requester, handler });
        const times = Object.entries(processes).map(([role, pid]) => [role, cpuOf(pid)]);
        return Object.fromEntries([...times, ["server", server.pids().reduce((sum, pid) => sum + cpuOf(pid), 0)]]);
      },
      serial: (plan) => requester.run("bench.driver.serial.bind(bench.driver)", plan),
      piped: (plan) => requester.run("bench.driver.piped.bind(bench.driver)", plan),
      another: () => browser.newPage(site),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** A page with a client that makes requests. */
export async function openRequester({ browser, site, name, system, server }, options) {
  const page = await browser.newPage(site);
  await page.run("bench.open", `/${name}/client.js`, server.url, {
    role: "requester",
    session: system.session,
    ...options,
  });
  return page;
}

async function processesOf(browser, { requester, handler }) {
  const processes = {
    requester: await browser.rendererOf(requester),
    handler: await browser.rendererOf(handler),
    network: browser.networkProcess(),
  };
  if (processes.requester === processes.handler) throw new Error("the two pages share a process");
  return processes;
}
