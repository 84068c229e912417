// A worker that is not a module: `import` exists only as a function.
addEventListener("message", async (event) => {
  const { answer } = await import("./peer.js");
  await answer(event);
});
