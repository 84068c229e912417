// Vite leaves dependencies out of what it builds for a server, unless it is told to take them in.
export default { ssr: { noExternal: true } };
