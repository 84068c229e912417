// The floor: a WebSocket message is a number of four bytes and a payload that nobody looks at. With JSON
// (`floor-json.js`) it is what a client costs at least that takes and gives values.

import { join, Slab } from "./slab.js";

export const raw = true;

const frameOf = (id, bytes) => {
  const frame = new Uint8Array(4 + bytes.length);
  new DataView(frame.buffer).setUint32(0, id, true);
  frame.set(bytes, 4);
  return frame;
};

const payloadOf = (message) => new Uint8Array(message, 4);

// The handler sends back the message that it got.
export const connect = connector({ frameOf, payloadOf, responseTo: (message) => message });

export const idOf = (message) => new DataView(message).getUint32(0, true);

/** @param codec a message of a number and a value, the value in a message, and the message that answers one */
export function connector({ frameOf, payloadOf, responseTo }) {
  return async (url, options) => {
    const socket = await join(url, options);
    const close = () => socket.close();
    if (options.role === "handler") {
      const handle = async (_path, answer) => {
        socket.onmessage = ({ data }) => socket.send(responseTo(data, answer));
      };
      return { handle, close };
    }

    const slab = new Slab();
    const many = new Map(); // responses to requests that get several
    socket.onmessage = ({ data }) => {
      const responses = many.get(idOf(data));
      if (responses) responses(payloadOf(data));
      else slab.take(idOf(data))(payloadOf(data));
    };
    const request = (_path, value) => new Promise((resolve) => socket.send(frameOf(slab.add(resolve), value)));
    const requestMany = (_path, value, count) =>
      new Promise((resolve) => {
        const id = slab.add(resolve);
        const responses = [];
        many.set(id, (response) => {
          if (responses.push(response) < count) return;
          many.delete(id);
          slab.take(id)(responses);
        });
        socket.send(frameOf(id, value));
      });
    return { request, requestMany, close };
  };
}
