// What an example gets when it imports the package `ws`: the WebSocket that leads to the broker of the example.

export function WebSocket(url) {
  return new globalThis.WebSocket(url);
}
