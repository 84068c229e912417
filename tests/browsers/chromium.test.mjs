import { declareTests } from "./run.mjs";

await declareTests("Chromium");
