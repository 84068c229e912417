// What only messages of panics say, as Rust 1.95 puts it into the data of the module: texts of the standard library and
// of the crates that the client is built from, never one of the client itself. `{}` stands for what a message tells.

export const panicTexts = [
  // core and alloc
  "assertion `left {} right` failed: {}\n  left: {}\n right: {}",
  "insertion index (is {}) should be <= len (is {})",
  "capacity overflow",
  "internal error: entered unreachable code",
  "RefCell already borrowed",
  "RefCell already mutably borrowed",
  "LazyCell instance has previously been poisoned",
  "`async fn` resumed after completion",
  "0123456789abcdef",
  "0x0123456789ABCDEF",
  Array.from({ length: 100 }, (_, number) => String(number).padStart(2, "0")).join(""),
  // js-sys
  "finish: result should be None",
  "finish: callbacks should be Some",
];
