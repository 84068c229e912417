// Asks through the broker named by `?broker=`, and shows the answer.

import { ask } from "./ask.js";

const show = (text) => {
  document.querySelector("output").textContent = text;
};
ask(new URLSearchParams(location.search).get("broker")).then(show, (error) => show(`failed: ${error.stack}`));
