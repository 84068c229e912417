//! The allocator: what is in a block is nobody else's, and what was given back is taken again.

use std::alloc::{Layout, alloc, dealloc, realloc};
use std::arch::wasm32::memory_size;

use wasm_bindgen_test::wasm_bindgen_test;

/// Blocks that are in use at a time.
const BLOCKS: usize = 300;

struct Block {
    at: *mut u8,
    layout: Layout,
    /// What each of its bytes is.
    mark: u8,
}

impl Block {
    fn new(size: usize, align: usize, mark: u8) -> Self {
        let layout = Layout::from_size_align(size, align).expect("a layout");
        // SAFETY: The size is not 0.
        let at = unsafe { alloc(layout) };
        assert!(!at.is_null() && at.addr().is_multiple_of(align), "{size} bytes at {at:p}, aligned to {align}");
        // SAFETY: So many bytes were asked for.
        unsafe { at.write_bytes(mark, size) };
        Self { at, layout, mark }
    }

    /// Another size, of which the bytes that it had are the same.
    fn resize(&mut self, size: usize) {
        // SAFETY: It has this layout, and the size is not 0.
        let at = unsafe { realloc(self.at, self.layout, size) };
        assert!(!at.is_null());
        let (kept, align) = (size.min(self.layout.size()), self.layout.align());
        (self.at, self.layout) = (at, Layout::from_size_align(size, align).expect("a layout"));
        self.check(kept);
        // SAFETY: So many bytes were asked for.
        unsafe { at.write_bytes(self.mark, size) };
    }

    fn check(&self, bytes: usize) {
        // SAFETY: They were written.
        let bytes = unsafe { std::slice::from_raw_parts(self.at, bytes) };
        assert!(bytes.iter().all(|byte| *byte == self.mark), "another block was written to this one");
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.check(self.layout.size());
        // SAFETY: It is in use, and has this layout.
        unsafe { dealloc(self.at, self.layout) };
    }
}

/// Takes, resizes and gives back blocks of all sizes, the same ones for each seed.
fn churn(mut seed: u32) {
    let mut random = |limit: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) % limit
    };
    let mut blocks: Vec<Option<Block>> = (0..BLOCKS).map(|_| None).collect();
    for step in 0..20_000 {
        let at = random(BLOCKS as u32) as usize;
        let magnitude = random(18);
        let size = 1 + random(1 << magnitude) as usize;
        match &mut blocks[at] {
            Some(block) if random(3) == 0 => block.resize(size),
            Some(_) => blocks[at] = None,
            empty => *empty = Some(Block::new(size, 1 << random(5), step as u8)),
        }
    }
}

#[wasm_bindgen_test]
fn blocks_do_not_overlap() {
    for seed in 0..5 {
        churn(seed);
    }
}

#[wasm_bindgen_test]
fn what_was_given_back_is_taken_again() {
    churn(7);
    let pages = memory_size::<0>();
    for _ in 0..20 {
        churn(7);
        drop(Block::new(3 << 20, 1, 9));
    }
    assert!(memory_size::<0>() - pages <= 64, "{} pages after {pages}", memory_size::<0>());
}

#[wasm_bindgen_test]
fn more_than_there_is_is_refused() {
    let layout = Layout::from_size_align((1 << 31) - 1, 1).expect("a layout");
    // SAFETY: The size is not 0; nothing is done with what is there.
    let (first, second) = unsafe { (alloc(layout), alloc(layout)) };
    assert!(second.is_null());
    if !first.is_null() {
        // SAFETY: It is in use, and has this layout.
        unsafe { dealloc(first, layout) };
    }
}
