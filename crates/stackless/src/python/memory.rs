//! What happens when there is no memory.
//!
//! Python raises MemoryError; the collections of Rust end the process. So memory that a program can make grow without
//! end is asked for first: by [`strictly`] for large pieces, by [`enough`] before a call that needs many small ones.
//! Everything else is small and short-lived: what destructors, the ends of tasklets and threads, and errors need. It
//! comes from a reserve when the system has no memory.
//!
//! ```text
//!   an allocation ──> the system ── has memory ──> done
//!                         │
//!                         └─ has none ──> inside strictly()? ── yes ──> fails: the caller raises MemoryError
//!                                             │ no
//!                                             v
//!   the reserve   │ pieces in use │ used ──>            │  SIZE bytes; the end moves back when the last
//!                                                          piece is given back, and to 0 when all are
//! ```
//!
//! While a piece is in use, [`enough`] refuses new work, so that the reserve is left to what must not fail.

use crate::python::objects::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering::*};

/// The size in bytes: address space only, until it is used.
const SIZE: usize = 4 << 20;

/// The maximum alignment that the reserve serves: no collection of this crate needs more.
const ALIGN: usize = 64;

#[repr(C, align(64))]
struct Room(UnsafeCell<[u8; SIZE]>);

struct Reserve {
    room: Room,
    busy: AtomicBool,
    /// Bytes handed out from the beginning, and the number of pieces; accessed only while `busy` is held.
    used: Cell<usize>,
    pieces: Cell<usize>,
    /// True if something was handed out since [`enough`] last found that there is memory again.
    low: AtomicBool,
}

// SAFETY: `busy` is a lock for the cells; each piece of the room belongs to the code it was handed out to.
unsafe impl Sync for Reserve {}

static RESERVE: Reserve = Reserve {
    room: Room(UnsafeCell::new([0; SIZE])),
    busy: AtomicBool::new(false),
    used: Cell::new(0),
    pieces: Cell::new(0),
    low: AtomicBool::new(false),
};

thread_local! {
    /// True while allocations may fail: the reserve is not used then.
    static STRICT: Cell<bool> = const { Cell::new(false) };
}

impl Reserve {
    fn locked<R>(&self, f: impl FnOnce() -> R) -> R {
        while self.busy.swap(true, Acquire) {
            std::hint::spin_loop();
        }
        let result = f();
        self.busy.store(false, Release);
        result
    }

    fn start(&self) -> *mut u8 {
        self.room.0.get().cast()
    }

    fn holds(&self, p: *mut u8) -> bool {
        p.addr().wrapping_sub(self.start().addr()) < SIZE
    }

    fn take(&self, layout: Layout) -> *mut u8 {
        if layout.align() > ALIGN || STRICT.get() {
            return null_mut();
        }
        self.low.store(true, Relaxed);
        self.locked(|| {
            let at = self.used.get().next_multiple_of(layout.align());
            if layout.size() > SIZE - at.min(SIZE) {
                return null_mut();
            }
            self.used.set(at + layout.size());
            self.pieces.set(self.pieces.get() + 1);
            self.start().wrapping_add(at)
        })
    }

    fn give_back(&self, p: *mut u8, layout: Layout) {
        self.locked(|| {
            let at = p.addr() - self.start().addr();
            self.pieces.set(self.pieces.get() - 1);
            if self.pieces.get() == 0 {
                self.used.set(0);
            } else if at + layout.size() == self.used.get() {
                self.used.set(at);
            }
        });
    }
}

struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

// SAFETY: the system's allocator, and where that has nothing, pieces of the reserve that do not overlap.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's.
        let p = unsafe { System.alloc(layout) };
        if p.is_null() { RESERVE.take(layout) } else { p }
    }

    #[inline]
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        if RESERVE.holds(p) {
            RESERVE.give_back(p, layout);
        } else {
            // SAFETY: the caller's.
            unsafe { System.dealloc(p, layout) }
        }
    }

    #[inline]
    unsafe fn realloc(&self, p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's; the new piece is large enough for the smaller of both.
        unsafe {
            if !RESERVE.holds(p) {
                let new = System.realloc(p, layout, size);
                if !new.is_null() {
                    return new;
                }
            }
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                new.copy_from_nonoverlapping(p, layout.size().min(size));
                self.dealloc(p, layout);
            }
            new
        }
    }
}

/// Calls `f` without the reserve: its allocations may fail.
pub fn strictly<R>(f: impl FnOnce() -> R) -> R {
    let before = STRICT.replace(true);
    let result = f();
    STRICT.set(before);
    result
}

/// Checks that there is memory for many small allocations. Sets a MemoryError otherwise.
#[inline(always)]
pub fn enough() -> Res<()> {
    if RESERVE.low.load(Relaxed) { check_again() } else { Ok(()) }
}

#[cold]
fn check_again() -> Res<()> {
    let back = RESERVE.locked(|| RESERVE.used.get() == 0);
    if !back || !is_there(SIZE / 16) {
        return Err(no_memory());
    }
    RESERVE.low.store(false, Relaxed);
    Ok(())
}

/// True if the system has this many bytes now.
fn is_there(bytes: usize) -> bool {
    strictly(|| Vec::<u8>::new().try_reserve_exact(bytes).is_ok())
}

/// Checks that a collection can grow to `count` elements. Sets a MemoryError otherwise.
pub fn room_for<E>(count: usize) -> Res<()> {
    let bytes = count.checked_mul(size_of::<E>());
    if bytes.is_some_and(is_there) { Ok(()) } else { Err(no_memory()) }
}

#[cold]
pub fn no_memory() -> Raised {
    // SAFETY: the GIL is held.
    unsafe { pyo3_ffi::PyErr_NoMemory() };
    Raised
}
