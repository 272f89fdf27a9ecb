//! `alt()`: the objects that say what to wait for, what a tasklet waits for in it, and its result. Data.
//!
//! A tasklet that waits in `alt()` has a [`Wait`](crate::model::wait::Wait) with an [`Alt`], and one place in the queue
//! of each channel: see `crates/core/src/places.rs`. How it ends is in [`crate::scheduler::alts`].

use crate::model::bomb::{self, Retry};
use crate::model::channel::{self, ChannelRef};
use crate::model::tasklet::TaskletRef;
use crate::model::wait::{IoDirection, SocketCall, WaitKind};
use crate::python::objects::*;
use crate::python::types;
use pyo3_ffi::*;
use smallvec::SmallVec;
use stackless_core::{ChannelId, Direction, WaitsTo};
use std::cell::{Cell, UnsafeCell};
use std::ffi::c_int;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

/// What a case object asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    Receive,
    Send,
    Read,
    Write,
}

/// A case, as the interpreter sees it: what `channel.receiving()` returns. It does not change.
#[repr(C)]
pub struct Case {
    head: UnsafeCell<PyObject>,
    /// The channel, or what has the descriptor: owned.
    pub target: Cell<Obj>,
    /// What is sent: owned; null for None.
    pub value: Cell<Obj>,
    pub wish: Cell<Wish>,
}

pub static CASE: types::TypeCell = types::TypeCell::new();

impl Case {
    /// # Safety
    /// `o` is a case.
    pub unsafe fn from(o: Obj) -> &'static Self {
        // SAFETY: the caller's.
        unsafe { &*o.cast::<Self>() }
    }

    /// A new case; the references are taken over.
    pub fn make(wish: Wish, target: Obj, value: Obj) -> Res<Obj> {
        let t = CASE.get();
        // SAFETY: the type is ready; its memory is zeroed.
        unsafe {
            let o = (*t).tp_alloc.expect("inherited")(t, 0);
            if o.is_null() {
                drop_ref(target);
                drop_ref(value);
                return Err(Raised);
            }
            let case = Self::from(o);
            case.target.set(target);
            case.value.set(value);
            case.wish.set(wish);
            Ok(o)
        }
    }
}

/// What one of the cases waits for. Everything is borrowed from the case objects.
#[derive(Clone, Copy)]
pub enum Kind {
    Receive(ChannelRef),
    /// The value, null for None.
    Send(ChannelRef, Obj),
    /// The end of a tasklet.
    Join(TaskletRef),
    Ready(c_int, IoDirection),
}

#[derive(Clone, Copy)]
pub struct Entry {
    pub kind: Kind,
    /// The case as it was given.
    pub shown: Obj,
}

pub type Entries = SmallVec<[Entry; 4]>;

/// What a tasklet waits for in `alt()`.
pub struct Alt {
    /// A tuple of the cases as they were given, and of the objects that they stand for: owned.
    pub given: Obj,
    pub entries: Entries,
    /// The number of the case that comes first.
    pub first: usize,
    /// The result, to be filled: owned; null once it was taken.
    pub result: Cell<Obj>,
    /// What calls `alt()` again: see [`Alt::again`].
    pub call: SocketCall,
    pub retry: Retry,
    /// The number of queues that the tasklet is in; each owns a reference to it.
    pub places: Cell<usize>,
}

impl Alt {
    /// A bomb that calls `alt()` again when the tasklet finds it.
    pub fn again(&self) -> Res<Obj> {
        bomb::of_call(new_ref(self.given), null_mut(), self.call, self.retry)
    }

    /// The kind of a wait that owns this.
    pub fn into_wait(self: Box<Self>) -> WaitKind {
        WaitKind::Alt(Box::into_raw(self).cast_const().cast())
    }

    /// Takes it back from a wait that has ended; None for a wait of another kind.
    ///
    /// # Safety
    /// No other code has this wait any more.
    pub unsafe fn of_ended(kind: WaitKind) -> Option<Box<Self>> {
        let WaitKind::Alt(alt) = kind else { return None };
        // SAFETY: made by `into_wait`, and the caller's.
        Some(unsafe { Box::from_raw(alt.cast_mut().cast()) })
    }
}

/// What a tasklet waits for in `alt()`, None if it waits for something else.
pub fn of(t: TaskletRef) -> Option<&'static Alt> {
    // SAFETY: a wait lives as long as the tasklet's pointer to it, and the alt as long as the wait.
    let wait = unsafe { t.wait.get().as_ref() }?;
    match wait.kind {
        // SAFETY: as above.
        WaitKind::Alt(alt) => Some(unsafe { &*alt.cast::<Alt>() }),
        _ => None,
    }
}

/// The numbers of `count` cases, from `first` on.
pub fn turned(count: usize, first: usize) -> impl Iterator<Item = usize> {
    (first..count).chain(0..first)
}

impl Entry {
    /// The channel in whose queue the tasklet waits, and for what; None if it waits for a descriptor.
    pub fn queue(&self) -> Option<(ChannelRef, WaitsTo)> {
        match self.kind {
            Kind::Receive(ch) => Some((ch, WaitsTo::Receive)),
            Kind::Send(ch, _) => Some((ch, WaitsTo::Send)),
            Kind::Join(t) => channel::of_end(t).map(|ch| (ch, WaitsTo::Receive)),
            Kind::Ready(..) => None,
        }
    }

    /// True if it is met by a tasklet that acts in this direction on this channel.
    pub fn meets(&self, c: ChannelId, acting: Direction) -> bool {
        let met = |(ch, waits): (ChannelRef, WaitsTo)| {
            ch.id() == c && (waits == WaitsTo::Send) == (acting == Direction::Receive)
        };
        self.queue().is_some_and(met)
    }
}

static RESULT: AtomicPtr<PyTypeObject> = AtomicPtr::new(null_mut());

/// A new result without contents.
pub fn new_result() -> Res<Obj> {
    // SAFETY: the type is ready. On 3.11 making an object may collect garbage, which would run Python code.
    check(without_collection(|| unsafe { PyStructSequence_New(RESULT.load(Relaxed)) }))
}

/// Fills a new result. The case and the value, null for None, are taken over.
pub fn fill(result: Obj, case: Obj, index: i64, value: Obj) {
    let value = if value.is_null() { none() } else { value };
    // SAFETY: a new result, which no other code has seen; it takes the references.
    unsafe {
        PyStructSequence_SetItem(result, 0, case);
        PyStructSequence_SetItem(result, 1, value);
        PyStructSequence_SetItem(result, 2, number(index));
        if PyObject_GC_IsTracked(result) == 0 {
            PyObject_GC_Track(result.cast());
        }
    }
}

/// The number as an int; None where there is no memory for it, which can only be with more than 256 cases.
fn number(index: i64) -> Obj {
    let number = int_obj(index);
    if number.is_null() {
        // SAFETY: the GIL is held.
        unsafe { PyErr_Clear() };
        return none();
    }
    number
}

/// Makes the type of results, and puts it into the module.
pub fn add(module: Obj) -> Res<()> {
    let field = |name: &str, doc: &str| PyStructSequence_Field { name: forever(name), doc: forever(doc) };
    let fields = vec![
        field("case", "The case that happened, as it was given; None for else_."),
        field("value", "What was received, or what the tasklet returned; None for the others."),
        field("index", "The position of the case among the arguments, -1 for else_."),
        PyStructSequence_Field { name: std::ptr::null(), doc: std::ptr::null() },
    ];
    let mut description = PyStructSequence_Desc {
        name: c"stackless.AltResult".as_ptr(),
        doc: forever(
            "The result of alt(): a tuple of the case and its value, with the case's position as index.",
        ),
        fields: fields.leak().as_mut_ptr(),
        n_in_sequence: 2,
    };
    // SAFETY: a complete description, whose parts live for ever.
    unsafe {
        let t = PyStructSequence_NewType(&mut description);
        if t.is_null() {
            return Err(Raised);
        }
        RESULT.store(t, Relaxed);
        types::add_object(module, c"AltResult", t.cast())
    }
}
