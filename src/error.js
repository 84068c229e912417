// The errors that promises of this package reject with.

/** A request, a registration or another call on a session that did not succeed. See docs: error codes, outcomes. */
export class MessagingError extends Error {
  /**
   * @param {string} code for programs, e.g. `TIMED_OUT`
   * @param {string} message for people
   * @param {"not-sent" | "refused" | "failed" | "unknown"} outcome whether the request may have been acted on
   * @param {{ reason?: number, cause?: unknown, details?: unknown }} [more] `reason` is the number that the other side gave,
   *   `details` what it said beside the message
   */
  constructor(code, message, outcome, { reason, cause, details } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.outcome = outcome;
    if (reason !== undefined) this.reason = reason;
    if (details !== undefined) this.details = details;
  }
}

/** The session filter does not parse; `errors` says where. */
export class InvalidFilterError extends MessagingError {
  constructor(message, errors) {
    super("INVALID_FILTER", message, "refused");
    this.errors = errors;
  }
}

/** Thrown by a request handler that declines: the sender gets code `REJECTED_REQUEST` with this message. */
export class RejectedRequestError extends Error {
  /**
   * @param {string} message what the sender is told
   * @param {{ details?: unknown, cause?: unknown }} [options] `details` are for the sender as well, `cause` is not
   */
  constructor(message, options) {
    super(message, options);
    if (options?.details !== undefined) this.details = options.details;
  }
}

/** Thrown within a request handler's wrapper: the request is not what the handler takes. Not for applications. */
export class InvalidRequestError extends Error {}

/** A session could not be opened. `retryable` says whether trying again later can help. */
export class ConnectError extends Error {
  constructor(code, message, retryable, cause) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.retryable = retryable;
  }
}

// On the prototype and not enumerable, as it is with the errors of the language.
// By text, since a minifier renames the classes.
const named = { MessagingError, InvalidFilterError, RejectedRequestError, ConnectError };
for (const [name, type] of Object.entries(named)) {
  Object.defineProperty(type.prototype, "name", { value: name, configurable: true, writable: true });
  Object.defineProperty(type, "name", { value: name, configurable: true });
}

/** Where the application called: to be made within that call. */
export function callSite() {
  return new Error();
}

/**
 * Where our code begins and ends, in one piece whoever bundles it. By that our frames are known, and not by their number:
 * some engines leave out a frame that ends with a call.
 */
export const ours = { begin: callSite() };

/** The file and the place of the first frame in a text. */
function place(text) {
  const [, file, line, column] = /([^\s(@]+):(\d+):(\d+)\)?$/m.exec(text) ?? [];
  return [file, line * 1e9 + +column];
}

/**
 * An error of ours, showing where the application called, and saying what `explain` says in addition; whatever else was thrown
 * stays as it is.
 */
export function seenFrom(site, error, explain) {
  if (!(error instanceof MessagingError || error instanceof ConnectError)) return error;
  explain?.(error);
  const lines = String(site.stack ?? "").split("\n");
  // V8 puts a heading line before the frames, the others have frames only.
  const heading = lines[0].startsWith("Error") ? [`${error.name}: ${error.message}`] : [];
  const frames = lines.slice(heading.length);
  const [[ourFile, begin], [, end]] = [place(ours.begin.stack), place(ours.end.stack)];
  const isOurs = ([file, at]) => file === ourFile && at >= begin && at <= end;
  while (isOurs(place(frames[0]))) frames.shift();
  Object.defineProperty(error, "stack", {
    value: [...heading, ...frames].join("\n"),
    configurable: true,
    writable: true,
  });
  return error;
}

/** What was thrown: its text, if it has one; and of a request handler, whether it declined, with which details, or complained. */
export function describeThrown(thrown) {
  let rejected = false;
  let invalid = false;
  let text = "";
  let details;
  try {
    // By name too: an application may have this package twice, by different entries for example.
    rejected = thrown instanceof RejectedRequestError || thrown?.name === "RejectedRequestError";
    invalid = thrown instanceof InvalidRequestError;
    const message = thrown?.message;
    const isObject = typeof thrown === "object" && thrown !== null;
    text = typeof message === "string" ? message : String(isObject ? JSON.stringify(thrown) : thrown);
    if (rejected) details = thrown.details;
  } catch {
    // Something that throws when it is looked at, or has no text.
  }
  return { rejected, invalid, text, details };
}

/** The text of something that was thrown. */
export function textOf(thrown) {
  return describeThrown(thrown).text || "something without a text was thrown";
}

/**
 * How Rust makes a `MessagingError`; what is missing is `undefined`. `faults` are those of a session filter: message,
 * line and column of each.
 */
export function messagingError(code, message, outcome, reason, faults, cause, details) {
  if (faults) {
    const errors = faults.map(([message, line, column]) => ({ message, line, column }));
    return new InvalidFilterError(message, errors);
  }
  return new MessagingError(code, message, outcome, { reason, cause, details });
}
