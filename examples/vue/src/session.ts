import { connect } from "antiphon";
import type { Desk } from "./contract";

/** One session for the whole page, however often components are mounted. Others find it by its property. */
export const opening = connect<Desk>(import.meta.env.VITE_BROKER ?? "ws://localhost:8080/antiphon", {
  properties: { app: "order-desk" },
});
