// Functions that run in a page, for browsers that take source text and give text back.

/** The source of a function that takes the argument as JSON and gives the outcome as JSON, for {@link outcomeOf}. */
export const sourceOf = (run) => `async (text) => {
  try {
    return JSON.stringify({ value: await (${run})(JSON.parse(text)) });
  } catch (error) {
    return JSON.stringify({ error: String(error), stack: error?.stack });
  }
}`;

/** The argument for a function of {@link sourceOf}. */
export const textOf = (argument = null) => JSON.stringify(argument);

/** What the function returned; throws what it threw. */
export function outcomeOf(text) {
  const { value, error, stack } = JSON.parse(text);
  // An engine's stack may lack the message.
  if (error !== undefined) throw new Error(`${error}\nin the page: ${stack}`);
  return value;
}
