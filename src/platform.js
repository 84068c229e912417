// What the session property `$Environment` says about where this client runs.

/** E.g. `BROWSER_Chrome_156` or `NODE_linux_22.11.0`. */
export function environment() {
  const { process, navigator } = globalThis;
  if (process?.versions?.node) return `NODE_${process.platform}_${process.versions.node}`;
  // The first that fits: Chromium's relatives name Chrome and Safari as well.
  const browsers = [
    ["Edge", /Edg\w*\/(\d+)/],
    ["Opera", /OPR\/(\d+)/],
    ["Firefox", /Firefox\/(\d+)/],
    ["Chrome", /Chrom\w*\/(\d+)/],
    ["Safari", /Version\/(\d+).*Safari/],
  ];
  for (const [name, pattern] of browsers) {
    const version = pattern.exec(navigator?.userAgent ?? "")?.[1];
    if (version) return `BROWSER_${name}_${version}`;
  }
  return "BROWSER_unknown_0";
}
