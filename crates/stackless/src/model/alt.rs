//! `alt()`: the objects that say what to wait for, what a tasklet waits for in it, and its result. Data.
//!
//! A tasklet that waits in `alt()` has a [`Wait`](crate::model::wait::Wait) with an [`Alt`], and one place in the queue
//! of each channel: see `crates/core/src/places.rs`. How it ends is in [`crate::scheduler::alts`].

use crate::model::bomb::{self, Retry};
use crate::model::channel::{self, ChannelRef};
use crate::model::primitive::PrimitiveRef;
use crate::model::tasklet::TaskletRef;
use crate::model::thread::Sched;
use crate::model::wait::{CallKind, Deadline, IoDirection, SocketCall, WaitKind};
use crate::python::gil::Gil;
use crate::python::objects::*;
use crate::python::types;
use pyo3_ffi::*;
use smallvec::SmallVec;
use stackless_core::{ChannelId, Direction, WaitsTo};
use std::cell::{Cell, UnsafeCell};
use std::ffi::c_int;
use std::ptr::null_mut;

/// What a case object asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    Receive,
    Send,
    Read,
    Write,
    /// An event of `stackless.sync` is set.
    Set,
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
    /// An event of `stackless.sync`.
    Event(PrimitiveRef),
}

pub struct Entry {
    pub kind: Kind,
    /// The case as it was given: borrowed until the tasklet waits, then owned.
    pub shown: Obj,
    /// The case that it stands for, or null: owned.
    pub made: Obj,
}

pub type Entries = SmallVec<[Entry; 4]>;
pub type Queues = SmallVec<[(ChannelId, WaitsTo); 4]>;

/// What a call of `alt()` is about, and what its tasklet waits for if it has to wait.
pub struct Alt {
    pub entries: Entries,
    /// True while the tasklet waits: `shown` of the entries is owned then.
    pub owns: Cell<bool>,
    /// The number of the case that comes first.
    pub first: usize,
    /// The result, to be filled: owned; null once it was taken.
    pub result: Cell<Obj>,
    /// What calls `alt()` again, and until when: see [`Alt::again`].
    pub retry: Retry,
    pub deadline: Deadline,
    /// True if the choice is fair.
    pub fair: bool,
    /// The queues in which the tasklet waits, each channel once.
    pub queues: Queues,
    /// True if one of the cases waits for a descriptor.
    pub polls: bool,
    /// True if one of the cases waits for the end of a tasklet.
    pub joins: bool,
    /// The number of queues that the tasklet is in; each owns a reference to it.
    pub places: Cell<usize>,
}

impl Alt {
    /// A bomb that calls `alt()` again when the tasklet finds it. It has a tuple of the cases.
    pub fn again(&self) -> Res<Obj> {
        // SAFETY: a new tuple takes over the references put into it.
        let given = unsafe {
            let given = check(without_collection(|| PyTuple_New(self.entries.len() as Py_ssize_t)))?;
            for (i, entry) in self.entries.iter().enumerate() {
                PyTuple_SET_ITEM(given, i as Py_ssize_t, new_ref(entry.shown));
            }
            given
        };
        let call = SocketCall {
            kind: CallKind::Wait(IoDirection::In),
            descriptor: -1,
            count: 0,
            flags: 0,
            fair: self.fair,
            followed: false,
            deadline: self.deadline,
        };
        bomb::of_call(given, null_mut(), call, self.retry)
    }

    /// The value of the one case that sends, null for None; None if none or several do.
    pub fn only_sent(&self) -> Option<Obj> {
        let mut all = self.entries.iter().filter_map(|entry| match entry.kind {
            Kind::Send(_, value) => Some(value),
            _ => None,
        });
        all.next().filter(|_| all.next().is_none())
    }

    /// What it owns, for the garbage collector.
    pub fn owned(&self) -> impl Iterator<Item = Obj> + '_ {
        let owns = self.owns.get();
        let of_entry = move |entry: &Entry| [if owns { entry.shown } else { null_mut() }, entry.made];
        self.entries.iter().flat_map(of_entry).chain([self.result.get()]).filter(|o| !o.is_null())
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

/// Alts that are not in use, for the next calls.
#[expect(clippy::vec_box, reason = "a wait keeps the address")]
static SPARE: Gil<UnsafeCell<Vec<Box<Alt>>>> = Gil::new(UnsafeCell::new(Vec::new()));
const SPARES: usize = 64;

fn spare<R>(f: impl FnOnce(&mut Vec<Box<Alt>>) -> R) -> R {
    // SAFETY: the GIL; no `f` here calls this function again or runs Python code.
    f(unsafe { &mut *SPARE.get() })
}

impl Alt {
    /// An empty one, for a call.
    pub fn take(deadline: Deadline, fair: bool, retry: Retry) -> Box<Self> {
        if let Some(mut alt) = spare(Vec::pop) {
            (alt.deadline, alt.fair) = (deadline, fair);
            return alt;
        }
        let (owns, result, places) = (Cell::new(false), Cell::new(null_mut()), Cell::new(0));
        Box::new(Self {
            entries: Entries::new(),
            owns,
            first: 0,
            result,
            retry,
            deadline,
            fair,
            places,
            queues: Queues::new(),
            polls: false,
            joins: false,
        })
    }

    /// It is not needed any more: what it owns is dropped, by the next tasklet of the thread to run where that may run
    /// Python code.
    pub fn give_back(mut self: Box<Self>, s: &Sched) {
        let owns = self.owns.get();
        for entry in &self.entries {
            if owns {
                s.drop_soon(entry.shown);
            }
            if !entry.made.is_null() {
                s.drop_soon(entry.made);
            }
        }
        let result = self.result.get();
        if !result.is_null() {
            s.drop_soon(result);
        }
        self.entries.clear();
        self.queues.clear();
        self.owns.set(false);
        self.result.set(null_mut());
        self.places.set(0);
        (self.polls, self.joins) = (false, false);
        if !self.entries.spilled() {
            spare(|all| {
                if all.len() < SPARES {
                    all.push(self);
                }
            });
        }
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
            Kind::Event(event) => Some((event.channel(), WaitsTo::Receive)),
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
