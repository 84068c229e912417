// What is sent: values whose JSON has exactly so many bytes, of strings, numbers, booleans and null.

const FIRST = 100_000_000; // nine digits, as many as all that follow

function template(bytes) {
  const value = { seq: FIRST, op: "echo", data: "" };
  if (bytes >= 512) {
    value.rows = [];
    let size = JSON.stringify(value).length;
    for (let id = 0; ; id++) {
      const row = { id, name: `item ${id}`, price: 12.75, qty: 3, ok: true, tag: null };
      size += JSON.stringify(row).length + 1;
      if (size > bytes) break;
      value.rows.push(row);
    }
  }
  const missing = bytes - JSON.stringify(value).length;
  if (missing < 0) throw new Error(`no value has ${bytes} bytes`);
  value.data = "x".repeat(missing);
  return value;
}

/**
 * Requests of one size. Each has a number of its own, so that nobody can keep an encoding.
 *
 * @param {number} bytes of the JSON
 * @param {boolean} raw the system takes bytes; they are encoded beforehand, and are the same each time
 * @returns {{ make(): unknown, isAnswer(request, response): boolean }}
 */
export function requests(bytes, raw) {
  const value = template(bytes);
  if (raw) {
    const encoded = new TextEncoder().encode(JSON.stringify(value));
    return { make: () => encoded, isAnswer: (request, response) => response.length === request.length };
  }
  let seq = FIRST;
  return {
    make: () => ({ ...value, seq: ++seq }),
    isAnswer: (request, response) => response.seq === request.seq && response.data.length === request.data.length,
  };
}
