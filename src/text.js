// Arguments that must be text.

import { MessagingError } from "./error.js";

/** `value`, if it is a string that UTF-8 can say; `name` is what an error calls it. */
export function text(name, value) {
  if (typeof value !== "string") throw invalid(`the ${name} must be a string`);
  // With the flag `u`, this finds halves of surrogate pairs that stand alone.
  if (/\p{Surrogate}/u.test(value)) throw invalid(`the ${name} has half of a surrogate pair, which is not text`);
  return value;
}

function invalid(message) {
  return new MessagingError("INVALID_ARGUMENT", message, "not-sent");
}
