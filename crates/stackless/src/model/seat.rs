//! The seat: the record, beside a tasklet's stacks, of its stack and of its share of the thread state.
//!
//! [`crate::engine::switch`] has a picture of where it is in memory. What a tasklet has only while it has a C stack is in
//! [`Stacked`], which lies before the seat: a parked tasklet, whose seat is on the heap, does not have it. The flag
//! `stacked` of the seat says whether it is there; [`Seat::stacked`] must not be called without it.

use crate::python::gil::Gil;
use crate::python::objects::*;
use pyo3_ffi::*;
use stackless_core::TaskletId;
use stackless_cpython::{Pending, State};
use stackless_stack::{self as stack, Slot};
use std::cell::{Cell, UnsafeCell};

/// The first code on a fresh C stack.
pub type Body = unsafe extern "C" fn(*mut u8) -> !;

static BODY: Gil<Cell<Option<Body>>> = Gil::new(Cell::new(None));

/// Sets what runs on fresh stacks, before the first one is made.
pub fn register_body(body: Body) {
    BODY.set(Some(body));
}

/// What every started tasklet has.
#[repr(C)]
pub struct Seat {
    /// The tasklet whose seat it is.
    pub owner: Cell<Option<TaskletId>>,
    /// The nesting level of a tasklet that outlives its thread.
    pub last_level: Cell<u16>,
    /// What the pending call returns: see [`crate::parking::obstacle::CallReturns`].
    pub returns: Cell<u8>,
    /// True if there is a [`Stacked`] before this seat; false while the tasklet is parked.
    stacked: Cell<bool>,
    /// The last field: the data stack begins at its end.
    pub state: UnsafeCell<State>,
}

/// What a tasklet has only while it has a C stack. It is in memory before the seat.
#[repr(C)]
pub struct Stacked {
    /// Where the C stack was left.
    pub resume: Cell<*mut u8>,
    /// The slot to give back at the end; None for a main tasklet.
    pub slot: Option<Slot>,
    /// The primitive in which the tasklet waits, if it was called from Python.
    pub pending: Cell<Pending>,
    /// The number of calls from primitives of this module back into code of the program that are under way.
    called_back: Cell<u16>,
    /// True if the tasklet's function is a Python function.
    pub python: Cell<bool>,
    /// 1 if below the tasklet's frames there is no C code of this module but the call of its function, else 0.
    pub evaluating: Cell<u8>,
    /// True if the tasklet got this stack when it was woken.
    pub woken: Cell<bool>,
    /// True if code has run on this stack for the tasklet. Destructors of what others left run before its own code.
    pub begun: Cell<bool>,
    /// How often the tasklet was found waiting since it ran: see [`crate::parking::room::make_room`].
    pub looks: Cell<u8>,
    /// The seat without a stack from which the tasklet was woken, while frames are there that have not continued, or
    /// null.
    pub woken_from: Cell<*mut Seat>,
    /// The callable and its arguments, during the call.
    pub call: [Cell<Obj>; 3],
}

/// A seat with a stack, as it is in memory.
#[repr(C, align(16))]
struct Whole {
    stacked: Stacked,
    seat: Seat,
}

const SEAT: usize = std::mem::offset_of!(Whole, seat);

// A seat of zeros belongs to no tasklet: slots that were never used are read as such.
// SAFETY: the compiler checks that zeros are a value of these types.
const _: () = assert!(unsafe {
    std::mem::zeroed::<Option<TaskletId>>().is_none() && std::mem::zeroed::<Option<Slot>>().is_none()
});

impl Seat {
    /// The seat of a main tasklet.
    pub fn of_main() -> *mut Self {
        // SAFETY: null, None, false and zero are what the fields of a new seat are.
        unsafe {
            let whole = Box::into_raw(Box::new(std::mem::zeroed::<Whole>()));
            (*whole).seat.stacked.set(true);
            whole.byte_add(SEAT).cast()
        }
    }

    /// Frees what [`Self::of_main`] made.
    ///
    /// # Safety
    /// It is not used any more.
    pub unsafe fn free_main(seat: *mut Self) {
        // SAFETY: the caller's; the box was of a `Whole`.
        drop(unsafe { Box::from_raw(seat.byte_sub(SEAT).cast::<Whole>()) });
    }

    /// The seat in a slot. It belongs to no tasklet if the slot was never used.
    pub fn of_slot(slot: Slot) -> *mut Self {
        slot.top().wrapping_add(SEAT).cast()
    }

    /// A new seat at the top of a slot.
    ///
    /// # Safety
    /// The slot is the caller's alone.
    pub unsafe fn in_slot(slot: Slot) -> &'static Self {
        // SAFETY: the caller's: the slot's top is aligned, and its room is larger than a seat.
        unsafe {
            let whole = slot.top().cast::<Whole>();
            whole.cast::<u8>().write_bytes(0, SEAT + std::mem::offset_of!(Self, state));
            let seat = Self::of_slot(slot);
            (&raw mut (*whole).stacked.slot).write(Some(slot));
            (*whole).stacked.resume.set(stack::prepare(
                slot.top(),
                BODY.get().expect("registered first"),
                seat.cast(),
            ));
            (*seat).stacked.set(true);
            &*seat
        }
    }

    /// A new seat on the heap, whose state takes `size` bytes; null without memory.
    pub fn allocate(size: usize) -> *mut Self {
        let before = std::mem::offset_of!(Self, state);
        // SAFETY: as above; of a parked tasklet's seat only the initialised part is used.
        unsafe {
            let seat = PyMem_Malloc(before + size).cast::<Self>();
            if !seat.is_null() {
                seat.cast::<u8>().write_bytes(0, before);
            }
            seat
        }
    }

    /// Frees what [`Self::allocate`] made, or does nothing for null.
    ///
    /// # Safety
    /// It is not used any more.
    pub unsafe fn free(seat: *mut Self) {
        // SAFETY: the caller's.
        unsafe { PyMem_Free(seat.cast()) }
    }

    /// True if its tasklet has no C stack.
    #[inline(always)]
    pub fn parked(&self) -> bool {
        !self.stacked.get() && self.owner.get().is_some()
    }

    /// True if its tasklet has a C stack.
    #[inline(always)]
    pub fn is_stacked(&self) -> bool {
        self.stacked.get()
    }

    /// What it has with its C stack.
    #[inline(always)]
    pub fn stacked(&self) -> &'static Stacked {
        debug_assert!(self.is_stacked());
        // SAFETY: a seat with a stack is part of a `Whole`, which lives as long as the seat is used.
        unsafe { &*std::ptr::from_ref(self).byte_sub(SEAT).cast::<Stacked>() }
    }

    #[inline(always)]
    pub fn state(&self) -> *mut State {
        self.state.get()
    }
}

impl Stacked {
    /// The line of memory where a seat with a stack begins, for a prefetch.
    #[inline(always)]
    pub fn address(seat: *const Seat) -> *const u8 {
        seat.cast::<u8>().wrapping_sub(SEAT)
    }

    /// Runs code of the program from inside a primitive: a destructor, or a callback. Meanwhile
    /// there is C code of this module below, whatever primitive that code waits in.
    pub fn call_back<R>(&self, f: impl FnOnce() -> R) -> R {
        self.called_back.set(self.called_back.get() + 1);
        let result = f();
        self.called_back.set(self.called_back.get() - 1);
        result
    }

    pub fn calls_back(&self) -> bool {
        self.called_back.get() != 0
    }

    /// True if it is a slot's, and nothing has run on it for its tasklet.
    pub fn is_fresh(&self) -> bool {
        self.slot.is_some() && !self.woken.get() && !self.begun.get()
    }

    pub fn evaluating(&self) -> bool {
        self.evaluating.get() != 0
    }
}
