import { answer } from "./peer.js";

addEventListener("connect", ({ ports: [port] }) => {
  port.onmessage = answer;
});
