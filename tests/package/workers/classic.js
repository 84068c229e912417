// A worker that is not a module: `import` is there as a function only.
addEventListener("message", async (event) => {
  const { answer } = await import("./peer.js");
  await answer(event);
});
