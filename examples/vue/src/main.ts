import { createApp, h } from "vue";
import App from "./App.vue";
import { opening } from "./session";
import "./style.css";

opening.then(
  (session) => createApp(App, { session }).mount("#app"),
  (error: Error) => createApp(() => h("p", { role: "alert" }, error.message)).mount("#app"),
);
