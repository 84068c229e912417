import { answer } from "./peer.js";

addEventListener("message", answer);
