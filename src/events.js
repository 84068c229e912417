// The listeners of a session. A listener that throws harms neither the others nor the session.

/** Keeps listeners by event name. */
export class Emitter {
  #listeners = new Map();

  /** Adds a listener; returns the function that takes it out again. */
  on(event, listener) {
    if (typeof listener !== "function") throw new TypeError("a listener must be a function");
    const entry = { listener };
    const entries = this.#listeners.get(event) ?? [];
    this.#listeners.set(event, [...entries, entry]);
    return () => {
      const left = this.#listeners.get(event).filter((other) => other !== entry);
      this.#listeners.set(event, left);
    };
  }

  /** Calls the listeners of `event`, in the order in which they were added. */
  emit(event, detail) {
    for (const { listener } of this.#listeners.get(event) ?? []) {
      try {
        listener(detail);
      } catch (error) {
        report(error);
      }
    }
  }
}

/** As the platform reports an error that nobody caught. */
function report(error) {
  if (typeof reportError === "function") reportError(error);
  else console.error(error);
}
