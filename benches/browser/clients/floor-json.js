// The floor with JSON: the same messages, the value encoded and decoded by both pages.

import { connector, idOf } from "./floor.js";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

const frameOf = (id, value) => {
  const text = JSON.stringify(value);
  const frame = new Uint8Array(4 + text.length * 3);
  new DataView(frame.buffer).setUint32(0, id, true);
  const { written } = encoder.encodeInto(text, frame.subarray(4));
  return frame.subarray(0, 4 + written);
};

const payloadOf = (message) => JSON.parse(decoder.decode(new Uint8Array(message, 4)));
const responseTo = (message, answer) => frameOf(idOf(message), answer(payloadOf(message)));

export const connect = connector({ frameOf, payloadOf, responseTo });
