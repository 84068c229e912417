// The errors that promises of this package reject with.

/** A request, a registration or another call on a session that did not succeed. See docs: error codes, outcomes. */
export class MessagingError extends Error {
  /**
   * @param {string} code for programs, e.g. `TIMED_OUT`
   * @param {string} message for people
   * @param {"not-sent" | "refused" | "failed" | "unknown"} outcome whether the request may have been acted on
   * @param {{ reason?: number, cause?: unknown }} [details] `reason` is the number that the other side gave
   */
  constructor(code, message, outcome, details) {
    super(message, details?.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.outcome = outcome;
    if (details?.reason !== undefined) this.reason = details.reason;
  }
}

/** The session filter does not parse; `errors` says where. */
export class InvalidFilterError extends MessagingError {
  constructor(message, errors, details) {
    super("INVALID_FILTER", message, "refused", details);
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

/**
 * Where the application called.
 *
 * @param {Error} error made in the function that the application called, or in one that this function called
 * @param {number} own how many functions of ours that is; fewer than there are do no harm, more would hide the caller
 */
export function callSite(error, own = 1) {
  return { error, own };
}

/** An error of ours, showing where the application called; whatever else was thrown stays as it is. */
export function seenFrom({ error: site, own }, error) {
  if (!(error instanceof MessagingError || error instanceof ConnectError)) return error;
  const frames = String(site.stack ?? "").split("\n");
  // V8 puts a heading line before the frames, the others have frames only.
  const heading = frames[0].startsWith("Error") ? [`${error.name}: ${error.message}`] : [];
  const value = [...heading, ...frames.slice(heading.length + own)].join("\n");
  Object.defineProperty(error, "stack", { value, configurable: true, writable: true });
  return error;
}

/** What was thrown: its text, if it has one; and of a request handler, whether it declined or complained. */
export function describeThrown(thrown) {
  let rejected = false;
  let invalid = false;
  let text = "";
  try {
    // By name too: an application may have this package twice, by different entries for example.
    rejected = thrown instanceof RejectedRequestError || thrown.name === "RejectedRequestError";
    invalid = thrown instanceof InvalidRequestError;
    text = String(thrown instanceof Error ? thrown.message : thrown);
  } catch {
    // Something that throws when it is looked at, or has no text.
  }
  return { rejected, invalid, text };
}

/** The text of something that was thrown. */
export function textOf(thrown) {
  return describeThrown(thrown).text || "something without a text was thrown";
}

/**
 * How Rust makes a `MessagingError`; what is missing is `undefined`. `faults` are those of a session filter: message,
 * line and column of each.
 */
export function messagingError(code, message, outcome, reason, faults, cause) {
  if (faults) {
    const errors = faults.map(([message, line, column]) => ({ message, line, column }));
    return new InvalidFilterError(message, errors);
  }
  return new MessagingError(code, message, outcome, { reason, cause });
}
