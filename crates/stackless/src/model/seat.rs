//! The seat: the record, beside a tasklet's stacks, of its stack and of its share of the thread state.
//!
//! [`crate::engine::switch`] has a picture of where it is in memory.

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

#[repr(C, align(16))]
pub struct Seat {
    /// Where the C stack was left; null while the tasklet is parked.
    pub resume: Cell<*mut u8>,
    /// The slot to give back at the end; None for a seat on the heap.
    pub slot: Option<Slot>,
    /// The primitive in which the tasklet waits, if it was called from Python.
    pub pending: Cell<Pending>,
    /// The number of calls from primitives of this module back into code of the program that are under way.
    called_back: Cell<u16>,
    /// What the pending call returns: see [`crate::parking::obstacle::CallReturns`].
    pub returns: Cell<u8>,
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
    /// The nesting level of a tasklet that outlives its thread.
    pub last_level: Cell<u16>,
    /// The seat without a stack from which the tasklet was woken, while frames are there that have not continued, or
    /// null.
    pub woken_from: Cell<*mut Seat>,
    /// The tasklet whose seat it is.
    pub owner: Cell<Option<TaskletId>>,
    /// The callable and its arguments, during the call.
    pub call: [Cell<Obj>; 3],
    /// The last field: the data stack begins at its end.
    pub state: UnsafeCell<State>,
}

// A seat of zeros belongs to no tasklet: slots that were never used are read as such.
// SAFETY: the compiler checks that zeros are a value of these types.
const _: () = assert!(unsafe {
    std::mem::zeroed::<Option<TaskletId>>().is_none() && std::mem::zeroed::<Option<Slot>>().is_none()
});

impl Seat {
    /// The seat of a main tasklet.
    pub fn of_main() -> Box<Self> {
        // SAFETY: null, None, false and zero are what the fields of a new seat are.
        unsafe { Box::new(std::mem::zeroed()) }
    }

    /// A new seat at the top of a slot.
    ///
    /// # Safety
    /// The slot is the caller's alone.
    pub unsafe fn in_slot(slot: Slot) -> &'static Self {
        // SAFETY: the caller's: the slot's top is aligned, and its room is larger than a seat.
        unsafe {
            let seat = slot.top().cast::<Self>();
            seat.cast::<u8>().write_bytes(0, std::mem::offset_of!(Self, state));
            (&raw mut (*seat).slot).write(Some(slot));
            (*seat).resume.set(stack::prepare(
                slot.top(),
                BODY.get().expect("registered first"),
                seat.cast(),
            ));
            &*seat
        }
    }

    /// A new seat on the heap, whose state takes `size` bytes; null without memory.
    pub fn allocate(size: usize) -> *mut Self {
        let before = std::mem::offset_of!(Self, state);
        // SAFETY: as above; of a parked tasklet's seat only the initialised part is used.
        unsafe {
            let seat = PyMem_RawMalloc(before + size).cast::<Self>();
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
        unsafe { PyMem_RawFree(seat.cast()) }
    }

    /// True if its tasklet has no C stack.
    #[inline(always)]
    pub fn parked(&self) -> bool {
        self.resume.get().is_null() && self.slot.is_none() && self.owner.get().is_some()
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

    pub fn evaluating(&self) -> bool {
        self.evaluating.get() != 0
    }

    #[inline(always)]
    pub fn state(&self) -> *mut State {
        self.state.get()
    }
}
