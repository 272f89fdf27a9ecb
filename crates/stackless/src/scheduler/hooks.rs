//! The flags word, by which hot paths test with one load whether any observer wants to know of a switch or of a
//! channel operation; and the registers of these observers.

use crate::model::channel::ChannelRef;
use crate::model::tasklet::TaskletRef;
use crate::model::thread::Sched;
use crate::python::gil::Gil;
use crate::python::objects::Obj;
use stackless_core::Direction;
use std::cell::Cell;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

/// One bit for each reason to call an observer.
pub static WATCHERS: AtomicU16 = AtomicU16::new(0);

/// The schedule callback is set.
pub const CALLBACK: u16 = 1;
/// A `run()` has a limit.
pub const LIMIT: u16 = 2;
/// Switches are counted.
pub const COUNT: u16 = 4;
/// A recording is under way: it is told of switches, channel operations and much else.
pub const RECORDER: u16 = 8;
/// The channel callback is set: it is told of channel operations, not of switches.
pub const CHANNEL: u16 = 16;
/// Switches are counted, and their times are kept.
pub const AGES: u16 = 32;
/// The C hook of `api/c_table.rs` is set.
pub const FAST: u16 = 64;
/// A timer runs, or a tasklet waits for a worker thread.
pub const TIMED: u16 = 128;
/// A program chooses which tasklets run: see [`crate::engine::steering`].
pub const STEERED: u16 = 256;

/// Tasklets keep where they were bound: see [`crate::observe::origins`].
pub const ORIGINS: u16 = 512;

/// True if a switch has to be told to an observer.
#[inline(always)]
pub fn watched() -> bool {
    WATCHERS.load(Relaxed) & (CALLBACK | LIMIT | COUNT | RECORDER | AGES | FAST | TIMED | STEERED) != 0
}

/// True if a channel operation has to be told to an observer.
#[inline(always)]
pub fn channels_watched() -> bool {
    WATCHERS.load(Relaxed) & (CHANNEL | RECORDER) != 0
}

/// True if an observer wants to know that a tasklet was bound.
#[inline(always)]
pub fn bindings_watched() -> bool {
    WATCHERS.load(Relaxed) & (RECORDER | ORIGINS) != 0
}

/// True while a program chooses which tasklets run.
pub fn steered() -> bool {
    WATCHERS.load(Relaxed) & STEERED != 0
}

/// True while tasklets keep where they were bound.
pub fn origins_kept() -> bool {
    WATCHERS.load(Relaxed) & ORIGINS != 0
}

/// Sets or clears flags.
pub fn set_flags(flags: u16, on: bool) {
    if on {
        WATCHERS.fetch_or(flags, Relaxed);
    } else {
        WATCHERS.fetch_and(!flags, Relaxed);
    }
}

/// What a recording is told. While one is under way (the flag [`RECORDER`]), each method is called by one line of
/// code where the event happens: see [`recorder`]. Not every change of the world's lists is told: a switch tells
/// where the tasklet that stops has gone, and a tasklet that appears in a ring was put there since it was last seen.
///
/// Only the methods whose names begin with `describe` may run Python code.
pub trait Recorder: Sync {
    /// A switch is about to happen; the world's lists agree already.
    fn switched(&self, s: &'static Sched, next: TaskletRef);

    /// The thread begins to sleep on the running tasklet's stack.
    fn slept(&self, s: &'static Sched);

    /// The thread wakes. A switch tells which tasklet continues, unless it is the one on whose stack it slept.
    fn woke(&self, s: &'static Sched);

    /// A tasklet was put into a ring.
    fn linked(&self, t: TaskletRef);

    /// A tasklet of a ring has got another place in it, or in another ring.
    fn moved(&self, t: TaskletRef);

    /// A tasklet was taken out of a ring or a queue, and is in no list now.
    fn unlinked(&self, t: TaskletRef);

    /// A tasklet has ended that may never have run.
    fn gone(&self, t: TaskletRef);

    /// The running tasklet is about to send this value.
    fn describe_sent(&self, s: &'static Sched, value: Obj);

    /// The running tasklet meets its partner, which was taken out of the queue just now.
    fn transferred(
        &self,
        s: &'static Sched,
        ch: ChannelRef,
        partner: TaskletRef,
        direction: Direction,
        value: Obj,
    );

    /// A value was put into a channel's buffer: that of a sender that waited and has left the queue, or else of the
    /// running tasklet.
    fn buffered(&self, s: &'static Sched, ch: ChannelRef, sender: Option<TaskletRef>, value: Obj);

    /// The running tasklet has taken the oldest value out of a channel's buffer.
    fn unbuffered(&self, s: &'static Sched, ch: ChannelRef, value: Obj);

    /// The settings of a channel were changed.
    fn channel_changed(&self, ch: ChannelRef);

    /// A channel is destroyed.
    fn channel_gone(&self, ch: ChannelRef);

    /// A tasklet was bound, with arguments: they are its label.
    fn describe_bound(&self, t: TaskletRef);

    /// The text of an exception that is about to be thrown, for [`Self::thrown`].
    fn describe_bomb(&self, bomb: Obj) -> u32;

    /// An exception is on its way into a tasklet.
    fn thrown(&self, t: TaskletRef, text: u32);

    /// An exception leaves the running tasklet's function.
    fn describe_failure(&self, s: &'static Sched, exception: &[Obj; 3]);

    /// A thread has ended: its tasklets are orphans now.
    fn thread_ended(&self, s: &'static Sched);

    /// The name, in the recording, of a channel or a tasklet that has no repr of its own; None for other objects,
    /// and without a recording.
    fn name_of(&self, o: Obj) -> Option<String>;
}

static THE_RECORDER: Gil<Cell<Option<&'static dyn Recorder>>> = Gil::new(Cell::new(None));

/// Sets the recorder, once.
pub fn register_recorder(recorder: &'static dyn Recorder) {
    THE_RECORDER.set(Some(recorder));
}

/// The recorder, while a recording is under way.
#[inline(always)]
pub fn recorder() -> Option<&'static dyn Recorder> {
    if WATCHERS.load(Relaxed) & RECORDER != 0 { THE_RECORDER.get() } else { None }
}

/// An observer of switches: called with the thread, the tasklet that continues, and the flags.
pub type Observer = fn(&'static Sched, TaskletRef, u16);

/// Observers, with the flags for which they are called.
type Observers = [Option<(u16, Observer)>; 2];

static OBSERVERS: Gil<Cell<Observers>> = Gil::new(Cell::new([None; 2]));

/// Adds an observer, which is called before each switch from one tasklet to another while one of these `flags` is
/// set. It must not run Python code.
pub fn register_observer(flags: u16, observer: Observer) {
    let mut all = OBSERVERS.get();
    *all.iter_mut().find(|place| place.is_none()).expect("room for all observers") = Some((flags, observer));
    OBSERVERS.set(all);
}

/// Calls the observers of a switch from the running tasklet to `next`.
pub fn tell_observers(s: &'static Sched, next: TaskletRef, watchers: u16) {
    for (flags, observer) in OBSERVERS.get().into_iter().flatten() {
        if watchers & flags != 0 {
            observer(s, next, watchers);
        }
    }
}
