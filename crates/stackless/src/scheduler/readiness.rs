//! Tasklets that wait until a descriptor is ready.
//!
//! Each thread that does this has a [`stackless_reactor::Poller`] of its own. A descriptor is registered at the
//! first call that would block, once, for both directions and edge-triggered. What is known of it since is in its
//! [`Source`](crate::model::readiness::Source): *exhausted* means that a call found nothing to do, and that the
//! system will tell when that changes; until then no call needs to try.
//!
//! A tasklet that waits is in one of the source's lists, and has a wait ([`crate::scheduler::waits`]). When the
//! descriptor becomes ready, all tasklets that wait for that direction continue and try again, in the order in which
//! they came. What they do then is the bomb in their tempval: see [`crate::sockets::calls`].

use crate::model::bomb;
use crate::model::readiness::Readiness;
use crate::model::tasklet::TaskletRef;
use crate::model::thread::Sched;
use crate::model::wait::{IoDirection, WaitKind};
use crate::model::world::{object, threads};
use crate::python::objects::*;
use crate::scheduler::ring::make_runnable;
use stackless_core::TaskletId;
use std::ffi::c_int;
use std::ptr::null_mut;
use std::time::Duration;

/// True if a call in this direction would not block. Also true if the descriptor is closed or cannot be polled.
pub fn is_ready(descriptor: c_int, direction: IoDirection) -> bool {
    let events = if direction == IoDirection::In { libc::POLLIN } else { libc::POLLOUT };
    let mut asked = libc::pollfd { fd: descriptor, events, revents: 0 };
    // SAFETY: one entry.
    unsafe { libc::poll(&mut asked, 1, 0) != 0 }
}

impl Readiness {
    /// Makes the tasklets runnable whose descriptors became ready.
    pub fn continue_ready(&self) {
        let mut woken = Vec::new();
        for ready in self.poller.borrow().found() {
            let mut sources = self.sources.borrow_mut();
            let Some(source) = sources.get_mut(ready.descriptor) else { continue };
            source.ended |= ready.ended;
            for (direction, is_ready) in
                [(IoDirection::In, ready.readable), (IoDirection::Out, ready.writable)]
            {
                if is_ready {
                    source.exhausted[direction as usize] = false;
                    woken.extend(source.waiting[direction as usize].drain(..));
                }
            }
        }
        woken.into_iter().for_each(make_runnable);
    }
}

/// Makes the tasklets runnable whose descriptors are ready now.
pub fn wake_ready(s: &'static Sched) {
    let Some(readiness) = s.readiness.get().filter(|readiness| readiness.waiting.get() > 0) else { return };
    let found = readiness.poller.borrow_mut().wait(Some(Duration::ZERO));
    match found {
        Ok(true) => readiness.continue_ready(),
        Ok(false) => {}
        Err(_) => drop_poller(s), // the tasklets that wait get the error
    }
}

/// Called when the program has closed the poller's own descriptors, perhaps with many others: the tasklets that wait
/// get the OSError of a closed one, and the next one to wait makes a new poller. The old one is not closed: its
/// descriptor numbers may belong to other files by now.
pub fn drop_poller(s: &'static Sched) {
    let Some(lost) = s.readiness.get() else { return };
    let mut waiting = Vec::new();
    for (_, source) in lost.sources.borrow_mut().each() {
        waiting.extend(source.waiting.iter_mut().flat_map(|direction| direction.drain(..)));
    }
    s.readiness.set(None);
    s.forget_bell();
    if wake_with_error(waiting).is_err() {
        write_unraisable(null_mut());
    }
}

/// False if it is known that a call in this direction would block.
#[inline(always)]
pub fn may_be_ready(s: &'static Sched, descriptor: c_int, direction: IoDirection) -> bool {
    s.readiness.get().is_none_or(|readiness| {
        let sources = readiness.sources.borrow();
        sources.get(descriptor).is_none_or(|source| !source.exhausted[direction as usize])
    })
}

/// A read from a stream got less than it asked for: there is no more now, and the system will tell when there is. (Not if
/// the descriptor is not registered yet, and not at the end of the data. In a Unix socket a read also stops where
/// descriptors were sent along.)
#[inline(always)]
pub fn exhausted(s: &'static Sched, descriptor: c_int) {
    let Some(readiness) = s.readiness.get() else { return };
    if let Some(source) = readiness.sources.borrow_mut().get_mut(descriptor) {
        source.exhausted[IoDirection::In as usize] = source.tcp && !source.ended;
    }
}

/// The number that the system has given to a socket; None for other files. A number comes again after four billion
/// sockets.
fn inode_of(descriptor: c_int) -> Option<u64> {
    // SAFETY: all zeros are a value, which the call overwrites.
    unsafe {
        let mut status = std::mem::zeroed::<libc::stat>();
        let is_socket =
            libc::fstat(descriptor, &mut status) == 0 && status.st_mode & libc::S_IFMT == libc::S_IFSOCK;
        is_socket.then_some(status.st_ino)
    }
}

/// True if it is a socket.
pub fn is_socket(descriptor: c_int) -> bool {
    inode_of(descriptor).is_some()
}

/// True if this very socket is watched by the thread's poller, and no other one that had the same descriptor before. As long
/// as a socket lives, the system watches it.
pub fn watches(s: &'static Sched, descriptor: c_int) -> bool {
    s.readiness.get().is_some_and(|readiness| {
        let known = readiness.sources.borrow().get(descriptor).map_or(0, |source| source.inode);
        known != 0 && inode_of(descriptor) == Some(known)
    })
}

/// The poller watches a descriptor anew: what was known of it does not hold any more.
pub fn watched_anew(readiness: &Readiness, descriptor: c_int) {
    let mut sources = readiness.sources.borrow_mut();
    let source = sources.get_or_add(descriptor);
    source.exhausted = [false; 2];
    source.ended = false;
    source.inode = inode_of(descriptor).unwrap_or(0);
    source.tcp = source.inode != 0 && is_tcp(descriptor);
}

/// An option of a socket that is a number; None where it has none.
fn option_of(descriptor: c_int, name: c_int) -> Option<c_int> {
    let (mut value, mut size) = (0 as c_int, size_of::<c_int>() as libc::socklen_t);
    // SAFETY: a number and its size.
    let done = unsafe {
        let place = (&raw mut value).cast();
        libc::getsockopt(descriptor, libc::SOL_SOCKET, name, place, &raw mut size)
    };
    (done == 0).then_some(value)
}

/// True for a socket of the type SOCK_STREAM.
pub fn is_stream(descriptor: c_int) -> bool {
    option_of(descriptor, libc::SO_TYPE) == Some(libc::SOCK_STREAM)
}

fn is_tcp(descriptor: c_int) -> bool {
    let domain = option_of(descriptor, libc::SO_DOMAIN);
    [Some(libc::AF_INET), Some(libc::AF_INET6)].contains(&domain) && is_stream(descriptor)
}

/// True if this error, of an attempt to watch a descriptor, means that the poller's own descriptor was closed.
pub fn is_of_poller(error: &std::io::Error, descriptor: c_int) -> bool {
    // SAFETY: it changes nothing.
    matches!(error.raw_os_error(), Some(libc::EBADF | libc::EINVAL))
        && unsafe { libc::fcntl(descriptor, libc::F_GETFD) } >= 0
}

/// The calling thread's poller, made at the first use.
pub fn of_thread(s: &'static Sched) -> Res<&'static Readiness> {
    if let Some(readiness) = s.readiness.get() {
        return Ok(readiness);
    }
    let made: &'static Readiness = Box::leak(Box::new(Readiness::new()?));
    s.readiness.set(Some(made));
    Ok(made)
}

/// Removes a tasklet from the list of a descriptor: what a wait for one undoes.
pub fn forget(t: TaskletId, kind: WaitKind) {
    let (WaitKind::Descriptor(descriptor, direction) | WaitKind::DescriptorOrTime(descriptor, direction)) =
        kind
    else {
        return;
    };
    let t = object(t);
    let s = t.scheduler().expect("a thread's end ends the waits of its tasklets");
    if let Some(readiness) = s.readiness.get() {
        readiness.forget(t, descriptor, direction); // else the poller was lost
    }
}

/// A socket was made of a descriptor. If one that was waited for had the same number, and was closed
/// unnoticed, the system does not watch the new one yet.
pub fn opened(descriptor: c_int) {
    let mut waiting = Vec::new();
    threads().into_iter().for_each(|s| {
        let Some(readiness) = s.readiness.get() else { return };
        let mut sources = readiness.sources.borrow_mut();
        if sources.get_mut(descriptor).is_none() {
            return;
        }
        let added = readiness.bell.add(descriptor).is_ok();
        drop(sources);
        if added {
            watched_anew(readiness, descriptor);
        } else {
            waiting.append(&mut readiness.remove(descriptor));
        }
    });
    if wake_with_error(waiting).is_err() {
        write_unraisable(null_mut());
    }
}

/// A descriptor is about to be closed, or handed over: the tasklets that wait for it, in any thread,
/// get the OSError of a closed one.
pub fn closed(descriptor: c_int) -> Res<()> {
    let mut waiting = Vec::new();
    threads().into_iter().for_each(|s| {
        if let Some(readiness) = s.readiness.get() {
            waiting.append(&mut readiness.remove(descriptor));
        }
    });
    wake_with_error(waiting)
}

/// Makes tasklets runnable that waited for a descriptor, with the OSError of a closed one.
fn wake_with_error(waiting: Vec<TaskletRef>) -> Res<()> {
    let owned: Vec<Obj> = waiting.iter().map(|t| new_ref(t.obj())).collect();
    let mut result = Ok(());
    for t in waiting {
        let Raised = raise_os_error(&std::io::Error::from_raw_os_error(libc::EBADF));
        let bomb = bomb::of_raised();
        if t.wait.get().is_null() {
            drop_ref(bomb); // making the exception ran Python code, which woke the tasklet
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

/// In the child of a fork: the poller is shared with the parent, so the child makes one of its own.
pub fn after_fork(s: &'static Sched) -> Res<()> {
    let Some(old) = s.readiness.get() else { return Ok(()) };
    let new = Readiness::new()?;
    // SAFETY: it is the thread's own, to which there is no other reference now.
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
