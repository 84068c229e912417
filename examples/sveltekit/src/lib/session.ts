import { connect } from "antiphon";
import { browser } from "$app/environment";
import type { Desk } from "./contract";

/** One session for the whole page. While the page is rendered on the server there is none, and nothing to wait for. */
export const opening = browser
  ? connect<Desk>(import.meta.env.VITE_BROKER ?? "ws://localhost:8080/antiphon", { properties: { app: "order-desk" } })
  : new Promise<never>(() => {});
