// "Show as code": the program that does what a form would do.

import { parseTimeout, parseValue } from "./ask.js";
import { byId, copies } from "./fields.js";
import { broker, parseProperties } from "./session.js";

function opening(names) {
  const options = [];
  const principal = byId("login-principal").value.trim();
  if (principal) options.push(`principal: ${quoted(principal)}`);
  if (byId("login-password").value) options.push('credentials: () => prompt("Password")'); // never the password itself
  const properties = Object.entries(orElse({}, () => parseProperties(byId("login-properties").value)));
  const pairs = properties.map(([key, value]) => `${/^[\w$]+$/.test(key) ? key : quoted(key)}: ${quoted(value)}`);
  if (pairs.length > 0) options.push(`properties: { ${pairs.join(", ")} }`);
  const rest = options.length > 0 ? `, {\n${options.map((option) => `  ${option},\n`).join("")}}` : "";
  const call = `const { messaging } = await connect(${quoted(broker)}${rest});`;
  return `import { ${["connect", ...names].join(", ")} } from "antiphon";\n\n${call}\n\n`;
}

const PROGRAMS = {
  ask() {
    const request = orElse("null", () => parseValue(byId("ask-value").value) && byId("ask-value").value.trim());
    const { timeout } = orElse({}, () => parseTimeout(byId("ask-timeout").value).options);
    const rest = timeout === undefined ? "" : `, { timeout: ${timeout} }`;
    const [path, session, filter] = ["ask-path", "ask-session", "ask-filter"].map((id) =>
      quoted(byId(id).value.trim()),
    );
    switch (byId("ask-to").value) {
      case "session":
        return `${opening([])}const answer = await messaging.sendRequestToSession(${path}, ${session}, ${request}${rest});\nconsole.log(answer);\n`;
      case "filter":
        return `${opening([])}for await (const { sessionId, value, error } of messaging.gather(${filter}, ${path}, ${request}${rest})) {\n  console.log(sessionId, error ?? value);\n}\n`;
      default:
        return `${opening([])}const answer = await messaging.sendRequestToPath(${path}, ${request}${rest});\nconsole.log(answer);\n`;
    }
  },
  answer() {
    const path = quoted(byId("answer-path").value.trim());
    const callback = byId("answer-function").value.trim().replace(/;+$/, "");
    const names = callback.includes("RejectedRequestError") ? ["RejectedRequestError"] : [];
    if (byId("answer-to").value === "path") {
      return `${opening(names)}await messaging.addRequestHandler(${path}, ${callback});\n`;
    }
    return `${opening(names)}messaging.addStreamHandler(${path}, ${callback}, { addressed: true });\n`;
  },
};

const quoted = (text) => JSON.stringify(text);

/** What `read` gives; `other` while the field that it reads has a mistake in it. */
function orElse(other, read) {
  try {
    return read();
  } catch {
    return other;
  }
}

for (const [name, program] of Object.entries(PROGRAMS)) {
  const text = byId(`${name}-code`);
  const details = text.closest("details");
  const update = () => {
    if (details.open) text.textContent = program();
  };
  details.addEventListener("toggle", update);
  for (const form of document.forms) {
    form.addEventListener("input", update);
    form.addEventListener("change", update);
  }
  copies(byId(`copy-${name}-code`), "Program", () => text.textContent, text);
}
