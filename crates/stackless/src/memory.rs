//! What happens when there is no memory.
//!
//! Python raises MemoryError; the collections of Rust end the process. So what a program can make grow without
//! end asks first: [`strictly`] for large pieces, [`enough`] before a call that needs many small ones. All
//! else is small and soon over: what destructors, the ends of tasklets and threads, and errors need. It comes
//! from a reserve when the system gives nothing.

use crate::py::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering::*};

/// Address space only, as long as nobody needs it.
const SIZE: usize = 4 << 20;
/// No collection of ours needs more.
const ALIGN: usize = 64;

#[repr(C, align(64))]
struct Room(UnsafeCell<[u8; SIZE]>);

struct Reserve {
    room: Room,
    busy: AtomicBool,
    /// So many bytes from the beginning are handed out, in so many pieces; touched by who is `busy`.
    used: Cell<usize>,
    pieces: Cell<usize>,
    /// Something was handed out since [`enough`] last found that there is memory again.
    low: AtomicBool,
}

// SAFETY: `busy` is a lock for the cells; each piece of the room belongs to whom it was handed out to.
unsafe impl Sync for Reserve {}

static RESERVE: Reserve = Reserve {
    room: Room(UnsafeCell::new([0; SIZE])),
    busy: AtomicBool::new(false),
    used: Cell::new(0),
    pieces: Cell::new(0),
    low: AtomicBool::new(false),
};

thread_local! {
    /// May an allocation fail?
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

/// Calls `f`, which can do with less memory than it asks for: the reserve is not for it.
pub fn strictly<R>(f: impl FnOnce() -> R) -> R {
    let before = STRICT.replace(true);
    let result = f();
    STRICT.set(before);
    result
}

/// Is there memory for many small things? Else a MemoryError is set.
#[inline(always)]
pub fn enough() -> Res<()> {
    if RESERVE.low.load(Relaxed) { look_again() } else { Ok(()) }
}

#[cold]
fn look_again() -> Res<()> {
    let back = RESERVE.locked(|| RESERVE.used.get() == 0);
    if !back || !is_there(SIZE / 16) {
        return Err(no_memory());
    }
    RESERVE.low.store(false, Relaxed);
    Ok(())
}

/// Can so many bytes be had now?
fn is_there(bytes: usize) -> bool {
    strictly(|| Vec::<u8>::new().try_reserve_exact(bytes).is_ok())
}

/// Is there memory for a collection to grow to so many elements of this type? Else a MemoryError is set.
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
