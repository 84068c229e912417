// What only messages of panics say, as Rust 1.95 puts it into the data of the module: texts of the standard library, or
// of a crate that the client is built from, never one of the client itself. `{}` stands for what a message tells.

export const panicTexts = [
  "assertion `left {} right` failed\n  left: {}\n right: {}",
  "insertion index (is {}) should be <= len (is {})",
  "index out of bounds: the len is {} but the index is {}",
  "slice index starts at {} but ends at {}",
  "range start index {} out of range for slice of length {}",
  "range end index {} out of range for slice of length {}",
  "FnOnce called more than once",
  "closure invoked recursively or after being dropped",
  "capacity overflow",
  "RefCell already borrowed",
  "RefCell already mutably borrowed",
  "0123456789abcdef",
  "0x0123456789ABCDEF",
  Array.from({ length: 100 }, (_, number) => String(number).padStart(2, "0")).join(""),
];
