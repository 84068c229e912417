// Replaces the package `ws` in examples: a WebSocket that leads to the example's broker.

export function WebSocket(url) {
  return new globalThis.WebSocket(url);
}
