// What the parts of the page share: its elements, and fields with what is wrong with them beside them.

export const byId = (id) => document.getElementById(id);

/** An element with text and a class. */
export function element(name, className, ...content) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...content); // strings become text nodes
  return made;
}

/** The result of `parse` for a field's text; undefined if it fails, with the problem shown beside the field. */
export function read(id, parse) {
  const field = byId(id);
  try {
    const value = parse(field.value);
    showProblem(field, "");
    return value;
  } catch (error) {
    showProblem(field, error.message);
    return undefined;
  }
}

export function textOf(id, ifEmpty) {
  return read(id, (text) => {
    if (text.trim() === "") throw new Error(ifEmpty);
    return text.trim();
  });
}

export function setText(id, text) {
  byId(id).value = text;
  showProblem(byId(id), "");
}

export function showProblem(field, problem) {
  byId(`${field.id}-problem`).textContent = problem;
  if (problem) field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
}

export function focusFirstProblem(form) {
  form.querySelector("[aria-invalid]").focus();
}

for (const form of document.forms) {
  form.addEventListener("input", ({ target }) => {
    if (target.hasAttribute("aria-invalid")) showProblem(target, "");
  });
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    form.requestSubmit();
  });
}

/** A button that copies what `text` gives. It shows what it did until it loses focus; the details are only read out. */
export function copies(button, what, text, source) {
  const label = button.textContent;
  const status = byId("copy-status");
  button.addEventListener("click", async () => {
    button.focus(); // Safari does not do that for a button
    try {
      await navigator.clipboard.writeText(text()); // no clipboard outside secure contexts
      button.textContent = "Copied";
      status.textContent = `${what} copied`;
    } catch {
      getSelection().selectAllChildren(source);
      button.textContent = "Selected";
      status.textContent = `${what} selected, copy it with the keyboard`;
    }
  });
  button.addEventListener("blur", () => {
    button.textContent = label;
    status.textContent = "";
  });
}
