import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App";
import { opening } from "./session";
import "./style.css";

const root = createRoot(document.getElementById("root") as HTMLElement);
root.render(<p>Connecting …</p>);
opening.then(
  (session) =>
    root.render(
      <StrictMode>
        <App session={session} />
      </StrictMode>,
    ),
  (error: Error) => root.render(<p role="alert">{error.message}</p>),
);
