// Who may do what, as rules 6.2 and 6.3 say it and as plainly as it can be written; and a configuration that says so.

const STOCK = {
  CLIENT: { default_path: ["SEND_TO_MESSAGE_HANDLER"], paths: { Diffusion: [] } },
  CLIENT_CONTROL: {
    includes: ["CLIENT"],
    global: ["VIEW_SESSION", "MODIFY_SESSION", "REGISTER_HANDLER"],
    default_path: ["SEND_TO_SESSION"],
  },
  TOPIC_CONTROL: { includes: ["CLIENT"] },
  AUTHENTICATION_HANDLER: { global: ["REGISTER_HANDLER"] },
  OPERATOR: { includes: ["CLIENT"], global: ["VIEW_SESSION"], paths: { Diffusion: [] } },
  ADMINISTRATOR: { includes: ["CLIENT_CONTROL", "TOPIC_CONTROL"] },
};

const trimmed = (path) => path.replace(/^\/|\/$/g, "");

/** Roles besides the stock ones, each `{ includes, global, default_path, paths }`, and isolated paths. */
export class Roles {
  constructor(roles = {}, isolated = []) {
    this.given = roles;
    this.isolated = isolated;
    this.roles = { ...STOCK, ...roles };
  }

  /** These roles and all that they include. */
  #all(names) {
    return names.flatMap((name) => [this.roles[name], ...this.#all(this.roles[name].includes ?? [])]);
  }

  everywhere(names, permission) {
    return this.#all(names).some(({ global = [] }) => global.includes(permission));
  }

  at(names, path, permission) {
    const roles = this.#all(names);
    for (let at = trimmed(path); at; at = at.slice(0, Math.max(0, at.lastIndexOf("/")))) {
      const assigned = roles.map(({ paths = {} }) => paths[at]).filter(Boolean);
      if (assigned.length > 0) return assigned.flat().includes(permission);
      if (this.isolated.includes(at)) return false;
    }
    return roles.some(({ default_path = [] }) => default_path.includes(permission));
  }

  /** The part of a configuration file, with users who all have the same password. */
  toToml(users, hash) {
    const text = JSON.stringify;
    const roles = Object.entries(this.given).map(
      ([name, { includes = [], global = [], default_path = [], paths = {} }]) => `
[roles.${name}]
includes = ${text(includes)}
global = ${text(global)}
default_path = ${text(default_path)}
[roles.${name}.paths]
${Object.entries(paths)
  .map(([path, permissions]) => `${text(path)} = ${text(permissions)}\n`)
  .join("")}`,
    );
    const named = Object.entries(users).map(
      ([name, roles]) => `
[[users]]
name = ${text(name)}
password = ${text(hash)}
roles = ${text(roles)}
`,
    );
    return `isolated_paths = ${text(this.isolated)}\n${roles.join("")}${named.join("")}`;
  }
}
