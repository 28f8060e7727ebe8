//! The system's allocator, but for allocations that no honest use of the input explains: these end
//! the process, which the fuzzer takes for a finding. What the fuzzer itself allocates is not seen.

use std::alloc::{GlobalAlloc, Layout, System};

/// No single allocation may be larger than `MAX` bytes.
pub struct Limited<const MAX: usize>;

impl<const MAX: usize> Limited<MAX> {
    fn check(size: usize) {
        if size > MAX {
            eprintln!("an allocation of {size} bytes is over the limit of {MAX}");
            std::process::abort();
        }
    }
}

// SAFETY: `System`'s promises are kept: every call is passed on as it is.
unsafe impl<const MAX: usize> GlobalAlloc for Limited<MAX> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::check(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::check(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::check(size);
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        unsafe { System.dealloc(block, layout) }
    }
}
