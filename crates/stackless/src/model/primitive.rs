//! What the objects of `stackless.sync` have in common: the queue of those that wait for their turn. Data.
//!
//! The tasklets that wait are in a queue of the [`World`](crate::model::world::World), as in that of a channel: a
//! primitive begins with the fields of a [`Channel`]. So all that holds for a tasklet that waits in a channel holds for
//! them: how they are killed, found in deadlocks, collected, and left behind by a thread that ends.
//!
//! Native threads that cannot wait in a tasklet are in a list of their own. Each knows how many tasklets came before
//! it, so that both together are served in the order in which they came.

use crate::model::channel::{Channel, ChannelRef};
use crate::model::classes;
use crate::model::tasklet::TaskletRef;
use crate::model::world::world;
use crate::python::gil::Gil;
use crate::python::objects::*;
use pyo3_ffi::*;
use stackless_cpython::Alarm;
use std::cell::Cell;
use std::ptr::{null, null_mut};

/// The object, as the interpreter sees it. All zeros at first, but for the channel.
#[repr(C)]
pub struct Primitive {
    channel: Channel,
    first: Cell<*const Native>,
    last: Cell<*const Native>,
    /// The number of tasklets that were given their turn.
    handed: Cell<u64>,
    /// The owner of a lock that is held, else 0: see [`crate::scheduler::entry::owner`].
    pub owner: Cell<u64>,
    /// How often a lock was acquired; the value of a semaphore; 1 for an event that is set.
    pub count: Cell<i64>,
    /// The maximum of `count`, 0 for none.
    pub bound: Cell<i64>,
}

pub type PrimitiveRef = &'static Primitive;

/// A native thread that waits. It owns the record, and frees it when it continues.
pub struct Native {
    pub alarm: Alarm,
    pub ident: u64,
    /// It is served once this number of tasklets has been, or when none waits.
    turn: u64,
    /// The number of forks before it began to wait: after one more it does not exist in this process.
    forks: Cell<u32>,
    queued: Cell<bool>,
    /// What it is given: owned; null for nothing.
    pub item: Cell<Obj>,
    pub served: Cell<bool>,
    next: Cell<*const Native>,
    previous: Cell<*const Native>,
}

static FORKS: Gil<Cell<u32>> = Gil::new(Cell::new(0));

/// In the child of a fork the other threads do not exist.
pub fn after_fork() {
    FORKS.set(FORKS.get().wrapping_add(1));
}

impl Native {
    /// A record of the calling thread, which is about to wait. `item` is taken over.
    pub fn new(p: PrimitiveRef, alarm: Alarm, ident: u64, item: Obj) -> Self {
        Self {
            alarm,
            ident,
            turn: p.handed.get() + u64::from(p.tasklets()),
            forks: Cell::new(FORKS.get()),
            queued: Cell::new(false),
            item: Cell::new(item),
            served: Cell::new(false),
            next: Cell::new(null()),
            previous: Cell::new(null()),
        }
    }
}

impl Primitive {
    /// The primitive behind an object that is one.
    ///
    /// # Safety
    /// `o` is an instance of a type that `sync/object.rs` has made.
    #[inline(always)]
    pub unsafe fn from(o: Obj) -> PrimitiveRef {
        // SAFETY: the caller's; the layout begins with that of a channel.
        unsafe { &*o.cast::<Self>() }
    }

    /// The primitive whose queue this is; None for a channel.
    pub fn behind(ch: ChannelRef) -> Option<PrimitiveRef> {
        // SAFETY: a living object and a type; what is in the world and no channel is a primitive.
        unsafe { (PyObject_TypeCheck(ch.obj(), classes::CHANNEL.get()) == 0).then(|| Self::from(ch.obj())) }
    }

    /// The primitive that a tasklet waits for.
    pub fn waited_for(t: TaskletRef) -> Option<PrimitiveRef> {
        world(|w| w.waits(t.id()).map(|(c, _)| w.channel_payload(c))).and_then(Self::behind)
    }

    pub fn channel(&'static self) -> ChannelRef {
        &self.channel
    }

    pub fn obj(&self) -> Obj {
        self.channel.obj()
    }

    /// The number of tasklets that wait.
    pub fn tasklets(&self) -> u32 {
        world(|w| w.balance(self.channel.id())).unsigned_abs()
    }

    /// The number of native threads that wait.
    pub fn threads(&self) -> usize {
        let next = |n: &&Native| {
            // SAFETY: as in `first_native`.
            unsafe { n.next.get().as_ref() }
        };
        std::iter::successors(self.first_native(), next).count()
    }

    pub fn push(&self, native: &'static Native) {
        native.queued.set(true);
        let last = self.last.replace(native);
        native.previous.set(last);
        // SAFETY: as in `first_native`.
        match unsafe { last.as_ref() } {
            Some(last) => last.next.set(native),
            None => self.first.set(native),
        }
    }

    /// Takes a record out of the list if it is there.
    pub fn remove(&self, native: &Native) {
        if !native.queued.replace(false) {
            return;
        }
        let (previous, next) = (native.previous.replace(null()), native.next.replace(null()));
        // SAFETY: as in `first_native`.
        unsafe {
            match previous.as_ref() {
                Some(previous) => previous.next.set(next),
                None => self.first.set(next),
            }
            match next.as_ref() {
                Some(next) => next.previous.set(previous),
                None => self.last.set(previous),
            }
        }
    }

    /// The first native thread in the list. Records of threads that a fork has left behind are leaked.
    pub fn first_native(&self) -> Option<&'static Native> {
        loop {
            // SAFETY: a record is in the list until its thread is served or stops waiting.
            let native = unsafe { self.first.get().as_ref() }?;
            if native.forks.get() == FORKS.get() {
                return Some(native);
            }
            self.remove(native);
        }
    }

    /// The calling thread may have forked, in a signal handler: its record is valid in the child too.
    pub fn renew(&self, native: &'static Native) {
        native.forks.set(FORKS.get());
        if !native.queued.get() && !native.served.get() {
            self.push(native);
        }
    }

    /// True if it is the turn of this native thread, although tasklets wait.
    pub fn is_turn_of(&self, native: &Native) -> bool {
        native.turn <= self.handed.get()
    }

    /// A tasklet was given its turn.
    pub fn count_turn(&self) {
        self.handed.set(self.handed.get() + 1);
    }

    /// The item of a record, which is taken out.
    pub fn take(native: &Native) -> Obj {
        native.item.replace(null_mut())
    }
}
