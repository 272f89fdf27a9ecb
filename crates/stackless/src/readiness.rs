//! Tasklets that wait until a descriptor is ready.
//!
//! Each thread that does this has a [`Poller`] of its own. A descriptor is registered at the first call
//! that would block, once, for both directions and edge-triggered. What is known of it since is in its
//! [`Source`]: *exhausted* means that a call found nothing to do, and that the system will tell when
//! that changes; until then nobody need ask.
//!
//! Whoever waits is in one of the source's lists besides having a wait ([`crate::waits`]). When the
//! descriptor becomes ready, all in that direction go on and try again, in the order in which they
//! came. What they do then is the bomb in their tempval: see [`crate::socket_calls`].

use crate::bomb;
use crate::kernel::{Next, make_runnable, plan_departure};
use crate::memory;
use crate::py::*;
use crate::tasklet::T;
use crate::thread::{self, Entered, Sched};
use crate::waits::{self, What};
use pyo3_ffi::*;
use smallvec::SmallVec;
use stackless_reactor::{Bell, Poller};
use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::ptr::null_mut;
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    In,
    Out,
}

#[derive(Default)]
struct Source {
    exhausted: [bool; 2],
    /// The other side sends no more: what has been received can be read without waiting, to the end.
    ended: bool,
    /// Borrowed: their waits own them. Nearly always there is but one.
    waiting: [SmallVec<[T; 1]>; 2],
}

/// By the descriptor's number: the system gives out the lowest that is free.
#[derive(Default)]
struct Sources(Vec<Option<Source>>);

impl Sources {
    fn get(&self, descriptor: c_int) -> Option<&Source> {
        self.0.get(descriptor as usize)?.as_ref()
    }

    fn get_mut(&mut self, descriptor: c_int) -> Option<&mut Source> {
        self.0.get_mut(descriptor as usize)?.as_mut()
    }

    /// Is there memory for it?
    fn has_room(&mut self, descriptor: c_int) -> bool {
        let more = (descriptor as usize + 1).saturating_sub(self.0.len());
        memory::strictly(|| self.0.try_reserve(more)).is_ok()
    }

    fn get_or_add(&mut self, descriptor: c_int) -> &mut Source {
        let at = descriptor as usize;
        if at >= self.0.len() {
            self.0.resize_with(at + 1, || None);
        }
        self.0[at].get_or_insert_default()
    }

    fn remove(&mut self, descriptor: c_int) -> Option<Source> {
        self.0.get_mut(descriptor as usize)?.take()
    }

    fn each(&mut self) -> impl Iterator<Item = (c_int, &mut Source)> {
        self.0.iter_mut().enumerate().filter_map(|(at, source)| Some((at as c_int, source.as_mut()?)))
    }
}

pub struct Readiness {
    poller: RefCell<Poller>,
    bell: Bell,
    sources: RefCell<Sources>,
    /// How many tasklets wait.
    waiting: Cell<u32>,
}

/// Raises the OSError of a system call.
pub fn raise_os_error(error: &std::io::Error) -> Raised {
    let number = error.raw_os_error().unwrap_or(libc::EIO);
    // SAFETY: errno is the thread's own, and read at once.
    without_collection(|| unsafe {
        *libc::__errno_location() = number;
        PyErr_SetFromErrno(PyExc_OSError);
    });
    Raised
}

impl Readiness {
    fn new() -> Res<Self> {
        let (poller, bell) = Poller::new().map_err(|error| raise_os_error(&error))?;
        Ok(Self { poller: RefCell::new(poller), bell, sources: RefCell::default(), waiting: Cell::new(0) })
    }

    /// Ends the thread's sleep. If the program has closed the descriptor for that, the sleeper finds out by
    /// itself: it does not sleep for long at a time.
    pub fn ring(&self) {
        let _closed = self.bell.ring();
    }

    /// Sleeps until something is ready, somebody rings, a signal arrives, or the time is over. Call it
    /// without the GIL; then [`Readiness::go_on`] with it.
    pub fn sleep(&self, microseconds: i64) -> std::io::Result<()> {
        let time = Duration::from_micros(microseconds.max(0) as u64);
        self.poller.borrow_mut().wait(Some(time)).map(|_| ())
    }

    /// Makes those runnable whose descriptors became ready.
    pub fn go_on(&self) {
        let mut woken = Vec::new();
        for ready in self.poller.borrow().found() {
            let mut sources = self.sources.borrow_mut();
            let Some(source) = sources.get_mut(ready.descriptor) else { continue };
            source.ended |= ready.ended;
            for (way, is_ready) in [(Way::In, ready.readable), (Way::Out, ready.writable)] {
                if is_ready {
                    source.exhausted[way as usize] = false;
                    woken.extend(source.waiting[way as usize].drain(..));
                }
            }
        }
        woken.into_iter().for_each(make_runnable);
    }

    fn forget(&self, t: T, descriptor: c_int, way: Way) {
        self.waiting.set(self.waiting.get() - 1);
        if let Some(source) = self.sources.borrow_mut().get_mut(descriptor) {
            source.waiting[way as usize].retain(|other| !std::ptr::eq(*other, t));
        }
    }

    /// The descriptor is about to be closed: who waited for it.
    fn remove(&self, descriptor: c_int) -> Vec<T> {
        let Some(source) = self.sources.borrow_mut().remove(descriptor) else { return Vec::new() };
        self.bell.remove(descriptor);
        source.waiting.into_iter().flatten().collect()
    }
}

/// Makes those runnable whose descriptors are ready now.
pub fn look(s: &'static Sched) {
    let Some(readiness) = s.readiness.get().filter(|readiness| readiness.waiting.get() > 0) else { return };
    let found = readiness.poller.borrow_mut().wait(Some(Duration::ZERO));
    match found {
        Ok(true) => readiness.go_on(),
        Ok(false) => {}
        Err(_) => lose(s), // those who wait get the error
    }
}

/// The program has closed the poller's own descriptors, with many others at once, perhaps: whoever waits gets
/// the OSError of a closed one, and the next to wait makes a new poller. The old one is not closed: its
/// numbers may be another's by now.
pub fn lose(s: &'static Sched) {
    let Some(lost) = s.readiness.get() else { return };
    let mut waiting = Vec::new();
    for (_, source) in lost.sources.borrow_mut().each() {
        waiting.extend(source.waiting.iter_mut().flat_map(|way| way.drain(..)));
    }
    s.readiness.set(None);
    s.forget_ring();
    if wake_with_error(waiting).is_err() {
        write_unraisable(null_mut());
    }
}

/// Is it worth trying a call of this kind?
#[inline(always)]
pub fn may_be_ready(s: &'static Sched, descriptor: c_int, way: Way) -> bool {
    s.readiness.get().is_none_or(|readiness| {
        let sources = readiness.sources.borrow();
        sources.get(descriptor).is_none_or(|source| !source.exhausted[way as usize])
    })
}

/// A call got less than it asked for: there is no more now, and the system will tell. (Not where
/// nobody has asked it to yet, and not at the end.)
#[inline(always)]
pub fn exhausted(s: &'static Sched, descriptor: c_int, way: Way) {
    let Some(readiness) = s.readiness.get() else { return };
    if let Some(source) = readiness.sources.borrow_mut().get_mut(descriptor) {
        source.exhausted[way as usize] = way == Way::Out || !source.ended;
    }
}

/// Does this error, of an attempt to watch a descriptor, say that the poller's own one is not what it was?
fn is_of_poller(error: &std::io::Error, descriptor: c_int) -> bool {
    // SAFETY: it changes nothing.
    matches!(error.raw_os_error(), Some(libc::EBADF | libc::EINVAL))
        && unsafe { libc::fcntl(descriptor, libc::F_GETFD) } >= 0
}

/// The calling thread's poller, made at the first use.
fn of_thread(s: &'static Sched) -> Res<&'static Readiness> {
    if let Some(readiness) = s.readiness.get() {
        return Ok(readiness);
    }
    let made: &'static Readiness = Box::leak(Box::new(Readiness::new()?));
    s.readiness.set(Some(made));
    Ok(made)
}

/// A call would block: plans the running tasklet's departure until the descriptor is ready. `what` names
/// the descriptor and the way. If it is not `followed`, it may have been closed since, and its number be
/// another one's: it is watched anew.
pub fn plan_wait(entered: Entered, what: What, until: Option<u64>, followed: bool) -> Res<Next> {
    let (What::Descriptor(descriptor, way) | What::DescriptorOrTime(descriptor, way)) = what else {
        unreachable!("the callers wait for descriptors");
    };
    entered.at_rest()?;
    let s = entered.s;
    let me = s.current();
    memory::enough()?;
    let mut readiness = of_thread(s)?;
    if !followed || readiness.sources.borrow().get(descriptor).is_none() {
        let mut added = readiness.bell.add(descriptor);
        if added.as_ref().is_err_and(|error| is_of_poller(error, descriptor)) {
            lose(s);
            readiness = of_thread(s)?;
            added = readiness.bell.add(descriptor);
        }
        added.map_err(|error| raise_os_error(&error))?;
    }
    if !readiness.sources.borrow_mut().has_room(descriptor) {
        return Err(memory::no_memory());
    }
    waits::arm(s, me, what, until)?;
    {
        let mut sources = readiness.sources.borrow_mut();
        let source = sources.get_or_add(descriptor);
        source.exhausted[way as usize] = true;
        source.waiting[way as usize].push(me);
    }
    readiness.waiting.set(readiness.waiting.get() + 1);
    let next = plan_departure(entered, None);
    if next.is_err() {
        waits::disarm(me);
    }
    next
}

/// A tasklet does not wait for this descriptor any more.
pub fn forget(s: &'static Sched, t: T, descriptor: c_int, way: Way) {
    if let Some(readiness) = s.readiness.get() {
        readiness.forget(t, descriptor, way); // else it was lost
    }
}

/// A socket was made of a descriptor. If one that was waited for had the same number, and was closed
/// without a word, nobody has told the system of this one yet.
pub fn opened(descriptor: c_int) {
    let mut waiting = Vec::new();
    thread::each(|s| {
        let Some(readiness) = s.readiness.get() else { return };
        let mut sources = readiness.sources.borrow_mut();
        let Some(source) = sources.get_mut(descriptor) else { return };
        if readiness.bell.add(descriptor).is_ok() {
            source.exhausted = [false; 2];
            source.ended = false;
        } else {
            drop(sources);
            waiting.append(&mut readiness.remove(descriptor));
        }
    });
    if wake_with_error(waiting).is_err() {
        write_unraisable(null_mut());
    }
}

/// A descriptor is about to be closed, or handed to somebody else: whoever waits for it, in any thread,
/// gets the OSError of a closed one.
pub fn closed(descriptor: c_int) -> Res<()> {
    let mut waiting = Vec::new();
    thread::each(|s| {
        if let Some(readiness) = s.readiness.get() {
            waiting.append(&mut readiness.remove(descriptor));
        }
    });
    wake_with_error(waiting)
}

/// Makes those runnable who waited for a descriptor, with the OSError of a closed one.
fn wake_with_error(waiting: Vec<T>) -> Res<()> {
    let owned: Vec<Obj> = waiting.iter().map(|t| new_ref(t.obj())).collect();
    let mut result = Ok(());
    for t in waiting {
        let Raised = raise_os_error(&std::io::Error::from_raw_os_error(libc::EBADF));
        let bomb = bomb::of_raised();
        if t.wait.get().is_null() {
            drop_ref(bomb); // making the exception ran Python code, and that woke it
        } else if bomb.is_null() {
            result = Err(raise(Exc::Memory, "no memory for an exception"));
        } else {
            let old = t.tempval.replace(bomb);
            make_runnable(t);
            drop_ref(old);
        }
    }
    owned.into_iter().for_each(drop_ref);
    result
}

/// In the child of a fork: the poller is shared with the parent, so this process makes one of its own.
pub fn after_fork(s: &'static Sched) -> Res<()> {
    let Some(old) = s.readiness.get() else { return Ok(()) };
    let new = Readiness::new()?;
    // SAFETY: nobody else has it: it is the thread's, which has no other reference at rest.
    let old = unsafe { Box::from_raw(std::ptr::from_ref(old).cast_mut()) };
    let mut lost = Vec::new();
    for (descriptor, source) in old.sources.borrow_mut().each() {
        source.exhausted = [false; 2];
        if new.bell.add(descriptor).is_err() {
            lost.push(descriptor);
        }
    }
    new.sources.swap(&old.sources);
    new.waiting.set(old.waiting.get());
    s.readiness.set(Some(Box::leak(Box::new(new))));
    lost.into_iter().try_for_each(closed)
}

/// The thread has ended.
pub fn end(s: &'static Sched) {
    if let Some(readiness) = s.readiness.take() {
        // SAFETY: the thread's own; no tasklet of it waits any more.
        drop(unsafe { Box::from_raw(std::ptr::from_ref(readiness).cast_mut()) });
    }
}
