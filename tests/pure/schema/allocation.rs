//! Measures the largest piece of memory that a function asks for.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// The largest piece since the measurement of this thread began.
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, with a note of what was asked for.
struct Noting;

#[global_allocator]
static ALLOCATOR: Noting = Noting;

// SAFETY: every call goes to the system's allocator unchanged, which keeps the contract; the note
// is a thread-local number that needs neither memory nor a destructor.
unsafe impl GlobalAlloc for Noting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.with(|largest| largest.set(largest.get().max(layout.size())));
        // SAFETY: the caller keeps the contract of `alloc`, which is that of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above; the memory came from `System`.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// What `work` answers, and the largest piece of memory in bytes that it asked for.
pub(super) fn largest<T>(work: impl FnOnce() -> T) -> (T, usize) {
    LARGEST.with(|largest| largest.set(0));
    let answer = work();
    (answer, LARGEST.with(Cell::get))
}
