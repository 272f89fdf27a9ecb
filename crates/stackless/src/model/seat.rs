//! The seat: where a tasklet with a stack keeps its share of the thread state.

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
    /// Null while the tasklet is parked.
    pub resume: Cell<*mut u8>,
    /// None on the heap.
    pub slot: Option<Slot>,
    /// The primitive in which it waits, if it was called from Python.
    pub pending: Cell<Pending>,
    /// So much code of the program is under way that a primitive of ours has called.
    called_back: Cell<u16>,
    /// What that returns: see [`crate::parking::obstacle::CallReturns`].
    pub returns: Cell<u8>,
    /// Is its function a Python function?
    pub python: Cell<bool>,
    /// Does nothing of ours but the call of its function lie below its frames?
    pub evaluating: Cell<u8>,
    /// Did it get this stack when it was woken?
    pub woken: Cell<bool>,
    /// Has any code run on this stack for it? Destructors of what others left come before its own.
    pub begun: Cell<bool>,
    /// How often it was found waiting: see [`crate::parking::room::make_room`].
    pub looks: Cell<u8>,
    /// The nesting level of one that stays when its thread ends.
    pub last_level: Cell<u16>,
    /// The seat without a stack that it was woken from, while frames lie there that have not gone on, or
    /// null.
    pub woken_from: Cell<*mut Seat>,
    /// The tasklet whose seat it is.
    pub owner: Cell<Option<TaskletId>>,
    /// The callable and its arguments, while the call is under way.
    pub call: [Cell<Obj>; 3],
    /// Last: the data stack begins at its end.
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

    /// A new seat on the heap, whose state takes so many bytes; null without memory.
    pub fn allocate(size: usize) -> *mut Self {
        let before = std::mem::offset_of!(Self, state);
        // SAFETY: as above; only what is there is used of a parked tasklet's seat.
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
    /// Nobody uses it any more.
    pub unsafe fn free(seat: *mut Self) {
        // SAFETY: the caller's.
        unsafe { PyMem_RawFree(seat.cast()) }
    }

    /// Has its tasklet no C stack?
    #[inline(always)]
    pub fn parked(&self) -> bool {
        self.resume.get().is_null() && self.slot.is_none() && self.owner.get().is_some()
    }

    /// Runs code of the program from inside a primitive: a destructor, or a callback. Whatever primitive that
    /// code waits in, there is C code of ours below.
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
