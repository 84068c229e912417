//! The allocator of the module, which is small: each block has a power of two for a size, and one that is free waits in a
//! list for whoever wants its size next. Taking and giving back are a few steps each, whatever there is.
//!
//! Blocks are never joined or cut: of each size there are as many as were in use at a time. So all of them together are at
//! most twice what was in use at the worst time of each size.

use std::alloc::{GlobalAlloc, Layout};
use std::arch::wasm32::memory_grow;
use std::cell::Cell;
use std::ptr::null_mut;

/// The allocator.
pub struct Blocks {
    /// By the logarithm of their size, the last free block, which begins with the address of the one before it.
    free: [Cell<*mut u8>; usize::BITS as usize],
    /// The memory that has been in no block yet.
    start: Cell<usize>,
    end: Cell<usize>,
}

// SAFETY: There is one thread.
unsafe impl Sync for Blocks {}

/// Bytes that memory grows by.
const PAGE: usize = 1 << 16;
/// The size of the smallest blocks; all begin at a multiple of it.
const LEAST: usize = 16;

impl Blocks {
    /// Without any memory yet.
    pub const fn new() -> Self {
        Self { free: [const { Cell::new(null_mut()) }; usize::BITS as usize], start: Cell::new(0), end: Cell::new(0) }
    }

    /// A block that there has not been before; null if there is no more memory.
    #[cold]
    fn cut(&self, size: usize) -> *mut u8 {
        if self.end.get().wrapping_sub(self.start.get()) < size {
            let pages = size.div_ceil(PAGE);
            let grown = memory_grow::<0>(pages);
            if grown == usize::MAX {
                return null_mut();
            }
            if grown * PAGE != self.end.get() {
                self.start.set(grown * PAGE);
            }
            self.end.set((grown + pages).wrapping_mul(PAGE)); // 0 at the end of the address space
        }
        let block = self.start.get();
        self.start.set(block.wrapping_add(size));
        block as *mut u8
    }
}

/// The logarithm of the size of blocks for this.
fn class(layout: Layout) -> u32 {
    usize::BITS - ((layout.size() - 1) | (LEAST - 1)).leading_zeros()
}

// SAFETY: A block is in use or in a list, never both; those that are cut do not overlap, and begin where `LEAST` says. The
// class of a layout is the same when it is given back.
unsafe impl GlobalAlloc for Blocks {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > LEAST {
            return null_mut();
        }
        let class = class(layout);
        let free = &self.free[class as usize];
        let block = free.get();
        if block.is_null() {
            return self.cut(1 << class);
        }
        // SAFETY: A free block begins with such an address.
        free.set(unsafe { block.cast::<*mut u8>().read() });
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let free = &self.free[class(layout) as usize];
        // SAFETY: It is ours now, and has room for an address.
        unsafe { block.cast::<*mut u8>().write(free.replace(block)) };
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: The caller promises that this is a layout.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if class(wanted) == class(layout) {
            return block;
        }
        // SAFETY: As the caller promises of this function.
        unsafe {
            let moved = self.alloc(wanted);
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(block, size.min(layout.size()));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}
