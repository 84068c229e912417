// Vite 7's development server bundles dependencies without the files that they load; this leaves the package as it is.
export default { optimizeDeps: { exclude: ["antiphon"] } };
